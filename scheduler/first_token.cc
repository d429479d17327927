#include "scheduler/first_token.h"

#include <spdlog/spdlog.h>

#include "base/file.h"

namespace tiltshift::scheduler {

void FirstToken::Look() {
  if (path_.empty()) return;
  if (!loop_.Leading().ok()) {
    looked_ = false;
    return;
  }
  if (looked_.exchange(true)) return;
  if (const absl::Status made = Make(); !made.ok()) spdlog::error("{}", Message(made));
}

absl::Status FirstToken::Make() {
  const int64_t now_ms = clock_.UnixMs();
  if (tokens_.Has(access::kOperate, now_ms)) return absl::OkStatus();
  v1::CreateTokenRequest request;
  request.set_name("the first token");
  request.add_roles(v1::ROLE_OPERATE);
  TS_ASSIGN_OR_RETURN(const auto made, access::TokenBook::Make(request, now_ms));
  // First the file: a token that nobody has the secret of could not be replaced. A new one: who
  // could read what was there could read this.
  const auto written = WriteFileAtomic(path_, made.secret + "\n", IfPresent::kReplace, 0600);
  if (!written.ok()) return Annotate(written.status(), "the first token");
  loop_.PutToken(made.stored, [this, id = made.stored.token().id()](const absl::Status& done) {
    if (done.ok()) {
      spdlog::info("nobody could operate this farm: token {}, which may, is in {}", id, path_);
    } else {
      looked_ = false;
    }
  });
  return absl::OkStatus();
}

}  // namespace tiltshift::scheduler
