#include "engine/prompt_encoder.h"

#include <utility>

#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kPromptsKept = 32;

}  // namespace

struct PromptEncoder::Text {
  TextEncoder::EncodeGraph encode;
  UNet::ContextGraph context;
  std::unique_ptr<Program> encode_program, context_program;
};

PromptEncoder::PromptEncoder(const Model::Impl& model) : model_(model) {}
PromptEncoder::~PromptEncoder() = default;

void PromptEncoder::DropPrograms() { text_.reset(); }

absl::Status PromptEncoder::PrepareText() {
  if (text_ != nullptr) return absl::OkStatus();
  auto text = std::make_unique<Text>();
  const int tokens = model_.tokenizer.length();
  text->encode = model_.text_encoder->Build(tokens);
  text->context = model_.unet->BuildContext(tokens);
  // Text is encoded once a prompt, so fp32 costs nothing that shows.
  TS_ASSIGN_OR_RETURN(text->encode_program,
                      model_.backend->Compile(text->encode.graph, Compute::kFp32));
  TS_ASSIGN_OR_RETURN(text->context_program,
                      model_.backend->Compile(text->context.graph, model_.compute));
  text_ = std::move(text);
  return absl::OkStatus();
}

absl::StatusOr<const Prompt*> PromptEncoder::Encode(std::string_view text) {
  TS_ASSIGN_OR_RETURN(Tokens tokens, model_.tokenizer.Encode(text));
  const Prompt* known =
      MoveToFront(prompts_, [&](const Prompt& prompt) { return prompt.tokens == tokens.ids; });
  if (known != nullptr) return known;

  TS_RETURN_IF_ERROR(PrepareText());
  Prompt prompt;
  prompt.tokens = std::move(tokens.ids);
  prompt.embedding.resize(prompt.tokens.size() * model_.config.text_encoder.hidden_size);
  model_.text_encoder->FillInput(prompt.tokens, prompt.embedding);
  text_->encode_program->Write(text_->encode.input, prompt.embedding);
  text_->encode_program->Run();
  text_->encode_program->Read(text_->encode.output, prompt.embedding);
  text_->context_program->Write(text_->context.input, prompt.embedding);
  text_->context_program->Run();
  prompt.context = text_->context_program->Keep(text_->context.output);
  prompts_.push_front(std::move(prompt));
  if (prompts_.size() > kPromptsKept) prompts_.pop_back();
  return &prompts_.front();
}

}  // namespace tiltshift::engine
