#include "scheduler/first_token.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>

namespace tiltshift::scheduler {
namespace {

// Never where a file was before: who could read that one could read this.
absl::Status WriteForItsOwner(const std::string& path, const std::string& text) {
  unlink(path.c_str());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot write the first token to", path);
  const bool written =
      write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!written) return ErrnoStatus(error, "cannot write the first token to", path);
  return absl::OkStatus();
}

}  // namespace

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
  // First the file: a token that nobody has the secret of could not be replaced.
  TS_RETURN_IF_ERROR(WriteForItsOwner(path_, made.secret + "\n"));
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
