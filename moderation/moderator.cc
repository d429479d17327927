#include "moderation/moderator.h"

#include <spdlog/spdlog.h>

#include <mutex>
#include <set>
#include <string_view>

#include "base/hash.h"

namespace tiltshift::moderation {
namespace {

constexpr std::string_view kCommand = "command:", kGrpc = "grpc:";
constexpr size_t kMostRemembered = 10'000;

// Decides where `asked` has no answer, and remembers which prompts it allowed: a campaign's
// variants differ in their seeds more often than in their words.
class Deciding : public Moderator {
 public:
  Deciding(std::unique_ptr<Moderator> asked, bool fail_open)
      : asked_(std::move(asked)), fail_open_(fail_open) {}

  absl::Status Review(const v1::ReviewRequest& request) override {
    const bool is_prompt = request.kind() == v1::REVIEW_KIND_PROMPT;
    const std::string words =
        is_prompt
            ? Sha256Hex(absl::StrCat(request.tenant(), "\n", request.job(), "\n", request.text()))
            : "";
    if (is_prompt && Remembers(words)) return absl::OkStatus();
    const absl::Status answer = asked_->Review(request);
    if (answer.ok() && is_prompt) Remember(words);
    if (answer.ok()) return answer;
    if (absl::IsPermissionDenied(answer))
      return absl::PermissionDeniedError(absl::StrCat("vetoed: ", Message(answer)));
    if (fail_open_) {
      spdlog::warn("moderation: {}; allowed, as --moderate-failure open says", Message(answer));
      return absl::OkStatus();
    }
    return absl::UnavailableError(absl::StrCat(
        "moderation gave no answer, and nothing goes on without one: ", Message(answer)));
  }

 private:
  bool Remembers(const std::string& words) {
    std::lock_guard lock(mutex_);
    return allowed_.contains(words);
  }
  void Remember(const std::string& words) {
    std::lock_guard lock(mutex_);
    if (allowed_.size() == kMostRemembered) allowed_.clear();
    allowed_.insert(words);
  }

  const std::unique_ptr<Moderator> asked_;
  const bool fail_open_;
  std::mutex mutex_;
  std::set<std::string> allowed_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Moderator>> OpenModerator(const ModeratorOptions& options) {
  if (options.who.empty()) return nullptr;
  std::unique_ptr<Moderator> asked;
  if (options.who.starts_with(kCommand) && options.who.size() > kCommand.size())
    asked = MakeCommandModerator(options.who.substr(kCommand.size()), options.timeout_ms);
  if (options.who.starts_with(kGrpc) && options.who.size() > kGrpc.size())
    asked = MakeGrpcModerator(options.who.substr(kGrpc.size()), options.timeout_ms);
  if (asked == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("--moderate ", options.who, ": it must be command:CMD or grpc:HOST:PORT"));
  return std::make_unique<Deciding>(std::move(asked), options.fail_open);
}

}  // namespace tiltshift::moderation
