// Against transformers: testdata/tokenizer_goldens.json, made by
// tests/goldens/make_tokenizer_goldens.py.
#include "engine/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <sstream>

#include "base/file.h"
#include "engine/tokenizer_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kData = TILTSHIFT_SOURCE_DIR "/engine/testdata/";

std::string Read(const std::string& name) {
  auto text = ReadFile(kData + name);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

absl::StatusOr<Tokenizer> Make(const std::string& config) {
  return Tokenizer::Parse({Read("tokenizer/vocab.json"), Read("tokenizer/merges.txt"), config, ""},
                          "tok");
}

TEST(Tokenizer, EqualsTransformers) {
  int cases = 0;
  for (const json& golden : json::parse(Read("tokenizer_goldens.json"))) {
    const auto tokenizer = Make(golden["config"].dump());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ(tokenizer->length(), golden["config"]["model_max_length"].get<int>());
    EXPECT_EQ(tokenizer->pad_id(), golden["pad"].get<int>());
    for (const json& c : golden["cases"]) {
      SCOPED_TRACE(c["text"].dump());
      const auto tokens = tokenizer->Encode(c["text"].get<std::string>());
      ASSERT_TRUE(tokens.ok()) << tokens.status();
      auto want = c["ids"].get<std::vector<int32_t>>();
      EXPECT_EQ(tokens->used, static_cast<int>(want.size()));
      want.resize(tokenizer->length(), tokenizer->pad_id());
      EXPECT_EQ(tokens->ids, want);
      ++cases;
    }
  }
  EXPECT_GT(cases, 200);
}

// tokenizer.json as transformers saves it of this vocabulary, which is filled in here. Merges are pairs of tokens, in
// older files joined by a space.
TokenizerFiles Saved(const json& saved, bool pairs) {
  json whole = saved["tokenizer.json"];
  whole["model"]["vocab"] = json::parse(Read("tokenizer/vocab.json"));
  std::istringstream lines(Read("tokenizer/merges.txt"));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    if (line.starts_with('#')) continue;
    whole["model"]["merges"].push_back(pairs ? json{line.substr(0, space), line.substr(space + 1)} : json(line));
  }
  return {"", "", saved["tokenizer_config.json"].dump(), "", whole.dump()};
}

TEST(Tokenizer, OneFileGivesTheSameIds) {
  const json goldens = json::parse(Read("tokenizer_goldens.json"));
  const json saved = json::parse(Read("tokenizer_saved.json"));
  int cases = 0;
  for (const auto& [name, golden] : {std::pair("plain", goldens[0]), std::pair("short", goldens[3])}) {
    for (const bool pairs : {true, false}) {
      const auto tokenizer = Tokenizer::Parse(Saved(saved[name], pairs), "tok");
      ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
      EXPECT_EQ(tokenizer->length(), golden["config"]["model_max_length"].get<int>());
      EXPECT_EQ(tokenizer->pad_id(), golden["pad"].get<int>());
      for (const json& c : golden["cases"]) {
        const auto tokens = tokenizer->Encode(c["text"].get<std::string>());
        ASSERT_TRUE(tokens.ok()) << tokens.status();
        auto want = c["ids"].get<std::vector<int32_t>>();
        want.resize(tokenizer->length(), tokenizer->pad_id());
        EXPECT_EQ(tokens->ids, want) << name << " " << c["text"].dump();
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 100);
}

TEST(Tokenizer, OneFileOfAnotherKindIsNamed) {
  const json saved = json::parse(Read("tokenizer_saved.json"))["plain"];
  const auto error = [&](const std::function<void(json&)>& change) {
    TokenizerFiles files = Saved(saved, true);
    json whole = json::parse(files.whole);
    change(whole);
    files.whole = whole.dump();
    return std::string(Tokenizer::Parse(files, "tok").status().message());
  };
  EXPECT_EQ(error([](json&) {}), "");
  const char* const other = " is not that of a CLIP tokenizer";
  EXPECT_EQ(error([](json& w) { w["normalizer"]["normalizers"].erase(0); }),
            absl::StrCat("tok/tokenizer.json: normalizer", other));
  EXPECT_EQ(error([](json& w) { w.erase("pre_tokenizer"); }), absl::StrCat("tok/tokenizer.json: pre_tokenizer", other));
  EXPECT_EQ(error([](json& w) { w["model"]["type"] = "Unigram"; }), absl::StrCat("tok/tokenizer.json: model.type", other));
  EXPECT_EQ(error([](json& w) { w["model"]["end_of_word_suffix"] = nullptr; }),
            absl::StrCat("tok/tokenizer.json: model.end_of_word_suffix", other));
  EXPECT_EQ(error([](json& w) { w["model"]["byte_fallback"] = true; }),
            absl::StrCat("tok/tokenizer.json: model.byte_fallback", other));
  EXPECT_THAT(error([](json& w) { w["model"]["vocab"] = json::array(); }), HasSubstr("model.vocab is not an object"));
  EXPECT_THAT(error([](json& w) { w["model"]["vocab"].erase("<|endoftext|>"); }),
              HasSubstr("tok/tokenizer.json: no token \"<|endoftext|>\""));
  EXPECT_THAT(error([](json& w) { w["model"]["merges"] = 3; }), HasSubstr("model.merges is not an array"));
  EXPECT_THAT(error([](json& w) { w["model"]["merges"][0] = json{"a"}; }), HasSubstr("a merge is neither"));
  EXPECT_THAT(error([](json& w) { w["model"]["merges"][2] = json{"a", "\u0001"}; }),
              HasSubstr("tok/tokenizer.json: line 3: the vocabulary lacks a token of"));
  EXPECT_THAT(error([](json& w) { w["added_tokens"][0].erase("id"); }), HasSubstr("added_tokens: one has no id"));
  EXPECT_THAT(error([](json& w) { w["added_tokens"][0]["lstrip"] = true; }), HasSubstr("lstrip is not implemented"));
}

TEST(Tokenizer, SaysWhatItCutOff) {
  const auto tokenizer = Make("");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::string text;
  for (int i = 0; i < 75; ++i) text += "a ";
  EXPECT_EQ(tokenizer->Encode(text)->dropped, 0);
  EXPECT_EQ(tokenizer->Encode(text)->used, 77);
  EXPECT_EQ(tokenizer->Encode(text + "b c")->dropped, 2);
  EXPECT_EQ(tokenizer->Encode(text + "b c")->ids.back(), tokenizer->eos_id());
  EXPECT_EQ(tokenizer->Encode(text + "b c")->ids, tokenizer->Encode(text)->ids);
  EXPECT_EQ(tokenizer->Encode("")->used, 2);
}

TEST(Tokenizer, TakesAMegabyteWithoutDelay) {
  const auto tokenizer = Make("");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(tokenizer->Encode(std::string(1 << 20, 'a')).ok());
  // A quadratic algorithm needs hours.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_THAT(std::string(tokenizer->Encode(std::string((1 << 20) + 1, 'a')).status().message()),
              HasSubstr("the prompt has 1048577 bytes; 1048576 are allowed"));
}

TEST(Tokenizer, RefusesWhatIsNotUtf8) {
  const auto tokenizer = Make("");
  for (const char* bad : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"}) {
    const auto tokens = tokenizer->Encode(bad);
    EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokens.status().message()), HasSubstr("is not UTF-8"));
  }
}

TEST(Tokenizer, SpecialTokensMapOverridesTheConfig) {
  const auto tokenizer =
      Tokenizer::Parse({Read("tokenizer/vocab.json"), Read("tokenizer/merges.txt"),
                        R"({"pad_token":"<|endoftext|>"})", R"({"pad_token":"!"})"},
                       "tok");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->pad_id(), 0);
}

TEST(Tokenizer, DamagedFilesAreNamed) {
  const std::string vocab = R"({"a":0,"a</w>":1,"aa</w>":2,"<|startoftext|>":3,"<|endoftext|>":4})";
  const auto error = [](TokenizerFiles files) {
    return std::string(Tokenizer::Parse(files, "tok").status().message());
  };
  EXPECT_EQ(error({vocab, "#version: 0.2\na a</w>\n", "", ""}), "");
  EXPECT_THAT(
      error({vocab, "#version\na a</w>\na\n", "", ""}),
      HasSubstr("tok/merges.txt: line 3: a merge is two tokens with a space between, not \"a\""));
  EXPECT_THAT(error({vocab, "a b\n", "", ""}),
              HasSubstr("line 1: the vocabulary lacks a token of \"a b\""));
  EXPECT_THAT(error({vocab, "a a\n", "", ""}), HasSubstr("line 1: the vocabulary lacks \"aa\""));
  EXPECT_THAT(error({"{\"a\":", "", "", ""}), HasSubstr("tok/vocab.json: not valid JSON"));
  EXPECT_THAT(error({"{\"a\":-1}", "", "", ""}),
              HasSubstr("tok/vocab.json: the id of \"a\" is not"));
  EXPECT_THAT(error({"{\"a\":1}", "", "", ""}),
              HasSubstr("tok/vocab.json: no token \"<|startoftext|>\""));
  EXPECT_THAT(error({vocab, "", "[]", ""}),
              HasSubstr("tok/tokenizer_config.json: not a JSON object"));
  EXPECT_THAT(error({vocab, "", R"({"pad_token":"?"})", ""}), HasSubstr("no token \"?\""));
  EXPECT_THAT(error({vocab, "", R"({"pad_token":7})", ""}),
              HasSubstr("tok/tokenizer_config.json: pad_token is neither"));
  EXPECT_THAT(error({vocab, "", R"({"model_max_length":"x"})", ""}),
              HasSubstr("model_max_length must be"));
  EXPECT_THAT(error({vocab, "", R"({"pad_token":{"content":"a","lstrip":true}})", ""}),
              HasSubstr("lstrip is not implemented"));
  EXPECT_EQ(Tokenizer::Load("/nonexistent/tokenizer").status().code(), absl::StatusCode::kNotFound);
}

TEST(SplitWords, FollowsTheExpression) {
  EXPECT_THAT(SplitWords("it's 42 don't!'s"),
              ElementsAre("it", "'s", "4", "2", "don", "'t", "!'", "s"));
  EXPECT_THAT(SplitWords("!<|endoftext|>!"), ElementsAre("!<|", "endoftext", "|>!"));
  EXPECT_THAT(SplitWords("a<|endoftext|>!"), ElementsAre("a", "<|", "endoftext", "|>", "!"));
}

TEST(NormalizePrompt, ComposesCollapsesAndLowers) {
  EXPECT_EQ(NormalizePrompt("  Cafe\xCC\x81\t\n\xC2\xA0 X"), " caf\xC3\xA9 x");
  EXPECT_EQ(NormalizePrompt("\xC4\xB0"), "i\xCC\x87");
}

}  // namespace
}  // namespace tiltshift::engine
