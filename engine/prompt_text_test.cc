#include "engine/prompt_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace tiltshift::engine {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Shown(std::string_view prompt) {
  const auto pieces = ParsePrompt(prompt);
  if (!pieces.ok()) return std::string(pieces.status().message());
  std::string shown;
  for (const PromptPiece& piece : *pieces)
    absl::StrAppend(&shown, piece.text, "|", piece.weight, "|");
  return shown;
}

TEST(ParsePrompt, Weighs) {
  EXPECT_EQ(Shown(""), "");
  EXPECT_EQ(Shown("a red robot"), "a red robot|1|");
  EXPECT_EQ(Shown("a (red) robot"), "a |1|red|1.1| robot|1|");
  EXPECT_EQ(Shown("a ((red)) robot"), "a |1|red|1.21| robot|1|");
  EXPECT_EQ(Shown("a [red] robot"), "a |1|red|0.909091| robot|1|");
  EXPECT_EQ(Shown("a (red:1.3) robot"), "a |1|red|1.3| robot|1|");
  EXPECT_EQ(Shown("(red : +.5 )"), "red |0.5|");
  EXPECT_EQ(Shown("(red:-2)(blue:0)"), "red|-2|blue|0|");
  EXPECT_EQ(Shown("(a (b:2) c:1.5)"), "a |1.5|b|3| c|1.5|");
  EXPECT_EQ(Shown("[(a)]"), "a|1|");
  EXPECT_EQ(Shown("((a))(b)"), "a|1.21|b|1.1|");
  EXPECT_EQ(Shown("()"), "");
}

TEST(ParsePrompt, TakesWhatIsNoEmphasisAsItStands) {
  EXPECT_EQ(Shown(R"(a \(red\) \[x\] \\ c:\d)"), R"(a (red) [x] \ c:\d|1|)");
  EXPECT_EQ(Shown("smile :) and ( and ] and [ and ("), "smile :) and ( and ] and [ and (|1|");
  EXPECT_EQ(Shown("ratio 16:9, (3:4)"), "ratio 16:9, |1|3|4|");
  EXPECT_EQ(Shown("(ratio 3:x) [a:2]"), "ratio 3:x|1.1| |1|a:2|0.909091|");
  EXPECT_EQ(Shown("(a:1.3.4) (b:nan) (c:inf)"), "a:1.3.4|1.1| |1|b:nan|1.1| |1|c:inf|1.1|");
  EXPECT_EQ(Shown("[a (b] c)"), "a (b|0.909091| c)|1|");
  EXPECT_EQ(Shown("a:1.3)"), "a:1.3)|1|");
  EXPECT_EQ(Shown("\\"), "\\|1|");
  EXPECT_EQ(Shown("(:"), "(:|1|");
}

TEST(ParsePrompt, BoundsWeights) {
  EXPECT_THAT(Shown("(big:11)"), HasSubstr("weighs \"big\" by 11; weights must be -10 to 10"));
  EXPECT_THAT(Shown(std::string(100, '(') + "x" + std::string(100, ')')),
              HasSubstr("weighs \"x\" by "));
  EXPECT_THAT(Shown(std::string(2000, '[') + "x" + std::string(2000, ']')), HasSubstr("x|0|"));
  EXPECT_THAT(Shown(std::string(30'000, '(') + std::string(30'000, ')')), "");
  EXPECT_THAT(Shown(std::string(30'000, '[') + std::string(30'000, ')')),
              HasSubstr(std::string(30'000, '[') + std::string(30'000, ')') + "|1|"));
  EXPECT_THAT(Shown(std::string(70'000, 'x')),
              HasSubstr("the prompt has 70000 bytes; 65536 are allowed"));
}

class TokenizePromptTest : public ::testing::Test {
 protected:
  TokenizePromptTest() : tokenizer_(*Make()) {}
  static absl::StatusOr<Tokenizer> Make() {
    const std::string data = TILTSHIFT_SOURCE_DIR "/engine/testdata/tokenizer/";
    return Tokenizer::Parse({*ReadFile(data + "vocab.json"), *ReadFile(data + "merges.txt"),
                             R"({"model_max_length": 7, "pad_token": "!"})", ""},
                            "tok");
  }
  absl::StatusOr<PromptTokens> Tokenize(std::string_view prompt) {
    return TokenizePrompt(tokenizer_, *ParsePrompt(prompt));
  }
  int32_t Id(std::string_view word) { return tokenizer_.EncodeAll(word)->at(0); }
  Tokenizer tokenizer_;
};

TEST_F(TokenizePromptTest, AShortPromptIsAsTheTokenizerGivesIt) {
  for (const char* prompt : {"", "a", "a cat", "a a a a a"}) {
    const auto tokens = Tokenize(prompt);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_EQ(tokens->ids, tokenizer_.Encode(prompt)->ids);
    EXPECT_THAT(tokens->weights, Each(1.0f));
  }
}

TEST_F(TokenizePromptTest, ALongPromptIsCutIntoChunksWithMarkersOfTheirOwn) {
  const int32_t bos = tokenizer_.bos_id(), eos = tokenizer_.eos_id(), pad = tokenizer_.pad_id();
  const int32_t a = Id("a"), b = Id("b");
  ASSERT_NE(pad, eos);
  auto tokens = Tokenize("a a a a a (b:2) a");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->ids, ElementsAre(bos, a, a, a, a, a, eos, bos, b, a, eos, pad, pad, pad));
  EXPECT_THAT(tokens->weights, ElementsAre(1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1));
  PadToChunks(tokenizer_, 3, &*tokens);
  EXPECT_EQ(tokens->ids.size(), 21u);
  EXPECT_EQ(std::vector<int32_t>(tokens->ids.begin() + 14, tokens->ids.end()),
            tokenizer_.Encode("")->ids);
  EXPECT_EQ(tokens->weights.size(), 21u);
}

TEST_F(TokenizePromptTest, BoundsLength) {
  std::string prompt;
  for (int i = 0; i < 5 * kMaxChunks; ++i) prompt += "a ";
  EXPECT_EQ(Tokenize(prompt)->ids.size(), 7u * kMaxChunks);
  EXPECT_THAT(std::string(Tokenize(prompt + "a").status().message()),
              HasSubstr("the prompt has 161 tokens; 160 are allowed"));
}

}  // namespace
}  // namespace tiltshift::engine
