// A prompt's way from its text to the keys and values that the UNet attends to.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/model_impl.h"

namespace tiltshift::engine {

// A prompt as the UNet takes it.
struct Prompt {
  std::vector<int32_t> tokens;
  std::vector<float> embedding;     // [tokens, hidden_size]
  std::unique_ptr<Buffer> context;  // every cross-attention's keys and values
};

// Owns the text's compiled programs and the last prompts. Used by one thread.
class PromptEncoder {
 public:
  // `model` must outlive it.
  explicit PromptEncoder(const Model::Impl& model);
  ~PromptEncoder();

  // Valid until a few other prompts were encoded: encode both of a render, then use them.
  absl::StatusOr<const Prompt*> Encode(std::string_view text);

  // The next Encode compiles anew: for when the thread's OpenMP threads have changed. Prompts stay.
  void DropPrograms();

 private:
  struct Text;
  absl::Status PrepareText();

  const Model::Impl& model_;
  std::unique_ptr<Text> text_;
  std::list<Prompt> prompts_;  // most recently used first
};

}  // namespace tiltshift::engine
