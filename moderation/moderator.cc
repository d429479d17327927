#include "moderation/moderator.h"

#include <spdlog/spdlog.h>

#include <mutex>
#include <set>
#include <string_view>

#include "base/hash.h"
#include "proto/channel.h"
#include "proto/tls_files.h"

namespace tiltshift::moderation {
namespace {

constexpr std::string_view kCommand = "command:", kGrpc = "grpc:";
constexpr size_t kMostRemembered = 10'000;

// What an answer is remembered by; empty: it is not. A campaign's variants differ in their seeds
// more often than in their words, and several may be made from one photo.
std::string Remembered(const v1::ReviewRequest& request) {
  if (request.kind() == v1::REVIEW_KIND_OUTPUT || request.text().empty()) return "";
  return Sha256Hex(absl::StrCat(request.kind(), "\n", request.tenant(), "\n", request.job(), "\n",
                                request.text()));
}

// Decides where `asked` has no answer, and remembers what it allowed.
class Deciding : public Moderator {
 public:
  Deciding(std::unique_ptr<Moderator> asked, bool fail_open)
      : asked_(std::move(asked)), fail_open_(fail_open) {}

  bool HasAllowed(const v1::ReviewRequest& request) const override {
    std::lock_guard lock(mutex_);
    return allowed_.contains(Remembered(request));
  }

  absl::Status Review(const v1::ReviewRequest& request) override {
    if (HasAllowed(request)) return absl::OkStatus();
    const absl::Status answer = asked_->Review(request);
    if (answer.ok()) {
      Remember(Remembered(request));
      return answer;
    }
    if (absl::IsPermissionDenied(answer))
      return absl::PermissionDeniedError(absl::StrCat("refused by moderation: ", Message(answer)));
    if (fail_open_) {
      spdlog::warn("moderation: {}; allowed, as --moderate-failure open says", Message(answer));
      return absl::OkStatus();
    }
    return absl::UnavailableError(absl::StrCat(
        "moderation gave no answer, and nothing goes on without one: ", Message(answer)));
  }

 private:
  void Remember(const std::string& allowed) {
    if (allowed.empty()) return;
    std::lock_guard lock(mutex_);
    if (allowed_.size() == kMostRemembered) allowed_.clear();
    allowed_.insert(allowed);
  }

  const std::unique_ptr<Moderator> asked_;
  const bool fail_open_;
  mutable std::mutex mutex_;
  std::set<std::string> allowed_;
};

absl::StatusOr<std::unique_ptr<Moderator>> AskService(const ModeratorOptions& options) {
  const std::string address = options.who.substr(kGrpc.size());
  auto credentials = grpc::InsecureChannelCredentials();
  if (!options.ca.empty()) {
    TS_ASSIGN_OR_RETURN(credentials, ClientTls({options.ca, options.cert, options.key}));
  } else if (!IsLoopback(address)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--moderate ", options.who,
        ": prompts and photos are not sent to another machine in the clear: give --moderate-ca, "
        "the CA of its certificate"));
  }
  return MakeGrpcModerator(address, ConnectTo(address, credentials), options.timeout_ms);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Moderator>> OpenModerator(const ModeratorOptions& options) {
  if (options.who.empty()) return nullptr;
  std::unique_ptr<Moderator> asked;
  if (options.who.starts_with(kCommand) && options.who.size() > kCommand.size())
    asked = MakeCommandModerator(options.who.substr(kCommand.size()), options.timeout_ms);
  if (options.who.starts_with(kGrpc) && options.who.size() > kGrpc.size()) {
    TS_ASSIGN_OR_RETURN(asked, AskService(options));
  }
  if (asked == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("--moderate ", options.who, ": it must be command:CMD or grpc:HOST:PORT"));
  return std::make_unique<Deciding>(std::move(asked), options.fail_open);
}

}  // namespace tiltshift::moderation
