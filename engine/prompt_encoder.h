// A prompt's way from its text to what the UNet is given of it: the keys and values that it attends
// to, and the pooled embedding that stands beside the time.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/model_impl.h"
#include "engine/prompt_text.h"

namespace tiltshift::engine {

// A prompt as the UNet takes it.
struct Prompt {
  int tokens = 0;                   // whole chunks of the tokenizer's length
  std::vector<float> embedding;     // [tokens, cross_attention_dim]
  std::vector<float> pooled;        // [projection_dim]; empty where the model has none
  std::unique_ptr<Buffer> context;  // every cross-attention's keys and values
  std::vector<std::unique_ptr<Buffer>> control_contexts;  // each ControlNet's
};

// The two sides of guidance, of equally many tokens.
struct PromptPair {
  const Prompt* prompt = nullptr;
  const Prompt* negative = nullptr;  // null where nothing guides
};

struct PromptRequest {
  std::string_view prompt;
  bool guided = true;
  std::optional<std::string_view> negative;  // none: the model's own, zeros or that of ""
  // Last layers of the text encoders left out. Of the prompt's alone, as in diffusers: the negative
  // prompt is encoded by all of them.
  int clip_skip = 0;
};

// Owns the text's compiled programs and the last prompts. Used by one thread.
class PromptEncoder {
 public:
  // `model` must outlive it.
  explicit PromptEncoder(const Model::Impl& model);
  ~PromptEncoder();

  // Valid until a few others were encoded. InvalidArgument: not UTF-8, too long, a weight out of
  // bounds (the message says whether the negative prompt is meant), or a clip_skip that leaves no
  // layer.
  absl::StatusOr<PromptPair> Encode(const PromptRequest& request);
  // The prompt alone.
  absl::StatusOr<const Prompt*> Encode(std::string_view text);

  // The next Encode compiles anew: for when the thread's OpenMP threads have changed. Prompts stay.
  void DropPrograms();

 private:
  // What decides an embedding.
  struct Key {
    std::vector<PromptTokens> texts;  // one for each text encoder; none: zeros
    int chunks = 0;
    int clip_skip = 0;
    bool operator==(const Key&) const = default;
  };
  struct Known {
    Key key;
    Prompt prompt;
  };
  struct Encoder;  // one text encoder's program
  struct Context;

  int Length() const { return model_.texts[0].tokenizer.length(); }
  absl::StatusOr<Key> KeyOf(std::string_view text, int clip_skip) const;
  void PadTo(int chunks, Key* key) const;
  absl::StatusOr<const Prompt*> Find(Key key);
  absl::StatusOr<Encoder*> EncoderFor(size_t text, int clip_skip);
  absl::StatusOr<Context*> ContextFor(const UNet& network, int tokens);
  absl::StatusOr<std::unique_ptr<Buffer>> ContextOf(const UNet& network, const Prompt& prompt);
  absl::Status EncodeText(size_t text, const Key& key, int first_channel, Prompt* prompt);

  const Model::Impl& model_;
  std::list<std::unique_ptr<Encoder>> encoders_;  // most recently used first, as the others
  std::list<std::unique_ptr<Context>> contexts_;
  std::list<Known> prompts_;
};

}  // namespace tiltshift::engine
