#include "proto/identity.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "base/file.h"
#include "proto/channel.h"
#include "proto/tls_files.h"

namespace tiltshift {
namespace {

constexpr char kSystemCas[] = "/etc/ssl/certs/ca-certificates.crt";
constexpr size_t kLongestToken = 4'096;

bool IsText(const std::string& token) {
  return token.find_first_of(" \t\r\n") == std::string::npos;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return ErrnoStatus(errno, "cannot read the token in", path);
  if ((file.st_mode & 077) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the token in ", path, " can be read by others than its owner; chmod 600 ", path));
  }
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLongestToken));
  const std::string token(absl::StripAsciiWhitespace(text));
  if (!token.empty() && IsText(token)) return token;
  return absl::InvalidArgumentError(absl::StrCat(path, " holds no token: one line, \"ts_...\""));
}

absl::StatusOr<std::string> FindToken(const std::string& path) {
  if (path == "none") return std::string();
  if (!path.empty()) return ReadToken(path);
  if (const char* said = std::getenv("TILTSHIFT_TOKEN"); said != nullptr && *said != '\0') {
    if (IsText(said)) return std::string(said);
    return absl::InvalidArgumentError("TILTSHIFT_TOKEN holds no token: \"ts_...\"");
  }
  const std::string own = DefaultTokenFile();
  struct stat file {};
  if (own.empty() || stat(own.c_str(), &file) != 0) return std::string();
  return ReadToken(own);
}

}  // namespace

std::string DefaultTokenFile() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config == '/')
    return absl::StrCat(config, "/tiltshift/token");
  const char* home = std::getenv("HOME");
  return home == nullptr ? "" : absl::StrCat(home, "/.config/tiltshift/token");
}

absl::StatusOr<Identity> Identity::Load(const IdentityOptions& options) {
  Identity identity;
  TS_ASSIGN_OR_RETURN(identity.token_, FindToken(options.token_file));
  if (options.tls_cert.empty() != options.tls_key.empty())
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  if (options.tls_ca.empty()) {
    if (options.tls_cert.empty()) return identity;
    return absl::InvalidArgumentError(
        "--tls-cert without --tls-ca: whose certificate does the scheduler have?");
  }
  const std::string ca = options.tls_ca == "system" ? kSystemCas : options.tls_ca;
  TS_ASSIGN_OR_RETURN(identity.tls_, ClientTls({ca, options.tls_cert, options.tls_key}));
  return identity;
}

absl::Status Identity::MayCall(const std::string& address) const {
  if (token_.empty() || tls_ != nullptr || IsLoopback(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the token is not sent to ", address,
                   " in the clear: give --tls-ca, the CA of the scheduler's certificate"));
}

std::shared_ptr<grpc::Channel> Identity::Connect(const std::string& address) const {
  return tls_ == nullptr ? ConnectTo(address) : ConnectTo(address, tls_);
}

void Identity::AddTo(grpc::ClientContext& context) const {
  if (!token_.empty()) context.AddMetadata("authorization", "Bearer " + token_);
}

}  // namespace tiltshift
