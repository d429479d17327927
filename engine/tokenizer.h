// The CLIP tokenizer: a prompt in, the fixed number of token ids out that the text encoder takes.
//
// It equals `tokenizers` (the Rust library behind transformers' CLIPTokenizer) token for token:
// NFC, each run of white space one space, lower case; split into contractions, runs of letters,
// single digits and runs of the rest by Unicode class; then byte-level BPE with "</w>" ending a
// word. That is CLIPTokenizerFast, and CLIPTokenizer since transformers 5. The older Python-only
// CLIPTokenizer mends text with `ftfy` first where that is installed, and else drops accents;
// nothing here does either.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

struct Tokens {
  std::vector<int32_t> ids;  // [length]: BOS, the prompt, EOS, padding
  int used = 0;              // of these, BOS, prompt and EOS
  int dropped = 0;           // prompt tokens that did not fit and were cut off
};

// A tokenizer folder's files, as text; `config` is tokenizer_config.json and may be empty.
struct TokenizerFiles {
  std::string vocab;   // vocab.json: {"token": id}
  std::string merges;  // merges.txt: a line a merge, after an optional "#version" line
  std::string config;
  std::string special_tokens;  // special_tokens_map.json; may be empty
  std::string whole;           // tokenizer.json, which holds what the first two do: in their place
};

// Immutable; safe to share between threads.
class Tokenizer {
 public:
  // Reads vocab.json and merges.txt, or where one is missing tokenizer.json, which is all that
  // transformers 5 saves; and tokenizer_config.json and special_tokens_map.json where present. Errors name the file: NotFound, or DataLoss for a damaged one (line and reason).
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);
  // Names of the files that Load reads there.
  static std::vector<std::string> FilesIn(const std::string& folder);
  static absl::StatusOr<Tokenizer> Parse(const TokenizerFiles& files, const std::string& where);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Text that spells a special token gives that token, as in transformers. InvalidArgument: not
  // UTF-8, or longer than 1 MB.
  absl::StatusOr<Tokens> Encode(std::string_view text) const;
  // The same without markers, padding and end: all of the text's ids.
  absl::StatusOr<std::vector<int32_t>> EncodeAll(std::string_view text) const;

  int length() const;      // ids an Encode returns: model_max_length, 77 where the config has none
  int vocab_size() const;  // one more than the largest id
  int32_t bos_id() const;
  int32_t eos_id() const;
  int32_t pad_id() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiltshift::engine
