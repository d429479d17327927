// A small tokenizer over any prompt, and any merges over a small vocabulary; or, where the bytes begin with {, any
// config of a tokenizer, and any tokenizer.json: always `length` ids, all of them known.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "engine/tokenizer.h"

namespace {

using namespace tiltshift::engine;

constexpr char kVocab[] = R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab":4,"ab</w>":5,)"
                          R"("aba":6,"!</w>":7,"<|startoftext|>":8,"<|endoftext|>":9})";

void CheckEncode(const Tokenizer& tokenizer, const std::string& text) {
  const auto tokens = tokenizer.Encode(text);
  if (!tokens.ok()) return;
  TS_CHECK(static_cast<int>(tokens->ids.size()) == tokenizer.length());
  TS_CHECK(tokens->used >= 2 && tokens->used <= tokenizer.length());
  for (int32_t id : tokens->ids) TS_CHECK(id >= 0 && id < tokenizer.vocab_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer tokenizer = *Tokenizer::Parse(
      {kVocab, "a b\nab a\na b</w>\n",
       R"({"pad_token":"!</w>","eos_token":{"content":"<|endoftext|>","normalized":true}})", ""},
      "fuzz");
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (!text.starts_with('{')) {
    CheckEncode(tokenizer, text);
    const auto other = Tokenizer::Parse({kVocab, text, "", ""}, "fuzz");
    if (other.ok()) CheckEncode(*other, "aababab abbba baab");
    return 0;
  }
  const auto configured = Tokenizer::Parse({kVocab, "", text, ""}, "fuzz");
  if (configured.ok()) CheckEncode(*configured, "a<|endoftext|>B!");
  const auto whole = Tokenizer::Parse({.whole = text}, "fuzz");
  if (whole.ok()) CheckEncode(*whole, "aababab <|endoftext|>abbba!");
  return 0;
}
