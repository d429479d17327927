#include "engine/prompt_encoder.h"

#include <algorithm>
#include <utility>

#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kPromptsKept = 32;
constexpr size_t kEncodersKept = 4;
constexpr size_t kContextsKept = 4;  // of each network

// A chunk's hidden states, and where each encoder gives them.
struct Encoded {
  std::vector<float> hidden;     // [length, hidden_size]
  std::vector<float> projected;  // [length, projection_dim], or nothing
};

bool IsWeighted(std::span<const float> weights) {
  return std::ranges::any_of(weights, [](float weight) { return weight != 1; });
}

}  // namespace

struct PromptEncoder::Encoder {
  size_t text = 0;
  int clip_skip = 0;
  const TextEncoder* network = nullptr;
  TextEncoder::EncodeGraph graph;
  std::unique_ptr<Program> program;

  Encoded Run(std::span<const int32_t> ids) {
    Encoded encoded;
    encoded.hidden.resize(graph.input.shape.size());
    network->FillInput(ids, encoded.hidden);
    program->Write(graph.input, encoded.hidden);
    program->Run();
    program->Read(graph.output, encoded.hidden);
    if (graph.projected) {
      encoded.projected.resize(graph.projected->shape.size());
      program->Read(*graph.projected, encoded.projected);
    }
    return encoded;
  }
};

struct PromptEncoder::Context {
  const UNet* network = nullptr;
  int tokens = 0;
  UNet::ContextGraph graph;
  std::unique_ptr<Program> program;
};

PromptEncoder::PromptEncoder(const Model::Impl& model) : model_(model) {}
PromptEncoder::~PromptEncoder() = default;

void PromptEncoder::DropPrograms() {
  encoders_.clear();
  contexts_.clear();
}

absl::StatusOr<PromptEncoder::Encoder*> PromptEncoder::EncoderFor(size_t text, int clip_skip) {
  auto* known = MoveToFront(encoders_, [&](const auto& encoder) {
    return encoder->text == text && encoder->clip_skip == clip_skip;
  });
  if (known != nullptr) return known->get();
  auto encoder = std::make_unique<Encoder>();
  encoder->text = text;
  encoder->clip_skip = clip_skip;
  encoder->network = model_.texts[text].encoder.get();
  const bool last = model_.config.index.text == TextRule::kLastHidden;
  encoder->graph = encoder->network->Build(
      Length(), {.left_out = clip_skip + (last ? 0 : 1), .final_norm = last});
  // Text is encoded once a prompt, so fp32 costs nothing that shows.
  TS_ASSIGN_OR_RETURN(encoder->program,
                      model_.backend->Compile(encoder->graph.graph, model_.seldom_compute()));
  encoders_.push_front(std::move(encoder));
  if (encoders_.size() > kEncodersKept) encoders_.pop_back();
  return encoders_.front().get();
}

absl::StatusOr<PromptEncoder::Context*> PromptEncoder::ContextFor(const UNet& network, int tokens) {
  auto* known = MoveToFront(contexts_, [&](const auto& context) {
    return context->network == &network && context->tokens == tokens;
  });
  if (known != nullptr) return known->get();
  auto context = std::make_unique<Context>();
  context->network = &network;
  context->tokens = tokens;
  context->graph = network.BuildContext(tokens);
  TS_ASSIGN_OR_RETURN(context->program,
                      model_.backend->Compile(context->graph.graph, model_.compute));
  contexts_.push_front(std::move(context));
  if (contexts_.size() > kContextsKept * (1 + model_.controls.size())) contexts_.pop_back();
  return contexts_.front().get();
}

absl::StatusOr<PromptEncoder::Key> PromptEncoder::KeyOf(std::string_view text,
                                                        int clip_skip) const {
  for (const TextEncoderConfig& config : model_.config.text_encoders) {
    const int most = config.layers - (model_.config.index.text == TextRule::kLastHidden ? 1 : 2);
    if (clip_skip >= 0 && clip_skip <= most) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("clip_skip is ", clip_skip, "; this model's text encoder takes 0 to ", most));
  }
  TS_ASSIGN_OR_RETURN(const std::vector<PromptPiece> pieces, ParsePrompt(text));
  Key key{.clip_skip = clip_skip};
  for (const Model::Impl::Text& part : model_.texts) {
    TS_ASSIGN_OR_RETURN(key.texts.emplace_back(), TokenizePrompt(part.tokenizer, pieces));
    key.chunks = std::max(key.chunks, static_cast<int>(key.texts.back().ids.size()) / Length());
  }
  PadTo(key.chunks, &key);
  return key;
}

void PromptEncoder::PadTo(int chunks, Key* key) const {
  key->chunks = chunks;
  for (size_t i = 0; i < key->texts.size(); ++i)
    PadToChunks(model_.texts[i].tokenizer, chunks, &key->texts[i]);
}

absl::StatusOr<PromptPair> PromptEncoder::Encode(const PromptRequest& request) {
  TS_ASSIGN_OR_RETURN(Key key, KeyOf(request.prompt, request.clip_skip));
  Key negative;
  if (request.guided && (request.negative || !model_.config.index.zeros_without_negative)) {
    absl::StatusOr<Key> made = KeyOf(request.negative.value_or(""), 0);
    if (!made.ok()) return Annotate(made.status(), "negative prompt");
    negative = *std::move(made);
  }
  const int chunks = std::max(key.chunks, negative.chunks);
  PadTo(chunks, &key);
  PadTo(chunks, &negative);
  PromptPair pair;
  TS_ASSIGN_OR_RETURN(pair.prompt, Find(std::move(key)));
  if (request.guided) {
    TS_ASSIGN_OR_RETURN(pair.negative, Find(std::move(negative)));
  }
  return pair;
}

absl::StatusOr<const Prompt*> PromptEncoder::Encode(std::string_view text) {
  TS_ASSIGN_OR_RETURN(const PromptPair pair, Encode({.prompt = text, .guided = false}));
  return pair.prompt;
}

// One encoder's channels of the embedding, a chunk at a time. A weighted token is moved along the
// line from what the empty prompt has at its place, so that weight 0 is as if nothing stood there.
absl::Status PromptEncoder::EncodeText(size_t text, const Key& key, int first_channel,
                                       Prompt* prompt) {
  TS_ASSIGN_OR_RETURN(Encoder * encoder, EncoderFor(text, key.clip_skip));
  const PromptTokens& tokens = key.texts[text];
  const size_t length = Length(), hidden = encoder->graph.output.shape.channels;
  const size_t row = model_.config.unet.cross_attention_dim;
  std::vector<float> empty;
  if (IsWeighted(tokens.weights)) {
    PromptTokens nothing;
    PadToChunks(model_.texts[text].tokenizer, 1, &nothing);
    empty = encoder->Run(nothing.ids).hidden;
  }
  for (int chunk = 0; chunk < key.chunks; ++chunk) {
    const auto ids = std::span(tokens.ids).subspan(chunk * length, length);
    const Encoded encoded = encoder->Run(ids);
    for (size_t t = 0; t < length; ++t) {
      const float weight = tokens.weights[chunk * length + t];
      float* to = &prompt->embedding[(chunk * length + t) * row + first_channel];
      for (size_t c = 0; c < hidden; ++c) {
        const float value = encoded.hidden[t * hidden + c];
        to[c] =
            weight == 1 ? value : empty[t * hidden + c] + weight * (value - empty[t * hidden + c]);
      }
    }
    if (chunk == 0 && encoder->graph.projected) {
      const size_t dim = encoder->graph.projected->shape.channels;
      const auto end = encoded.projected.begin() + encoder->network->EndOf(ids) * dim;
      prompt->pooled.assign(end, end + dim);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Buffer>> PromptEncoder::ContextOf(const UNet& network,
                                                                 const Prompt& prompt) {
  TS_ASSIGN_OR_RETURN(Context * context, ContextFor(network, prompt.tokens));
  context->program->Write(context->graph.input, prompt.embedding);
  context->program->Run();
  return context->program->Keep(context->graph.output);
}

absl::StatusOr<const Prompt*> PromptEncoder::Find(Key key) {
  const Known* known = MoveToFront(prompts_, [&](const Known& other) { return other.key == key; });
  if (known != nullptr) return &known->prompt;

  Prompt prompt;
  prompt.tokens = key.chunks * Length();
  prompt.embedding.resize(int64_t{prompt.tokens} * model_.config.unet.cross_attention_dim);
  int channel = 0;
  for (size_t text = 0; text < key.texts.size(); ++text) {
    TS_RETURN_IF_ERROR(EncodeText(text, key, channel, &prompt));
    channel += model_.config.text_encoders[text].hidden_size;
  }
  if (key.texts.empty()) prompt.pooled.resize(model_.config.text_encoders.back().projection_dim);
  TS_ASSIGN_OR_RETURN(prompt.context, ContextOf(*model_.unet, prompt));
  for (const auto& control : model_.controls) {
    TS_ASSIGN_OR_RETURN(prompt.control_contexts.emplace_back(), ContextOf(*control, prompt));
  }
  TS_RETURN_IF_ERROR(model_.backend->health());
  prompts_.push_front({std::move(key), std::move(prompt)});
  if (prompts_.size() > kPromptsKept) prompts_.pop_back();
  return &prompts_.front().prompt;
}

}  // namespace tiltshift::engine
