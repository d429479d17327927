// TLS to Redis, 1.2 or later. hiredis 0.14, Debian 12's, has none, so this stands below the parser
// of replies instead. The only door to OpenSSL.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/redis_socket.h"

namespace tiltshift::store {
namespace {

constexpr size_t kMostAtOnce = 1 << 30;  // SSL_write takes an int

std::string LastReason() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == nullptr ? "" : reason;
}

absl::Status Refused(const std::string& what) {
  return absl::PermissionDeniedError(
      absl::StrCat("TLS: ", what, "; --redis-ca names the CA's file, --redis-cert and --redis-key ",
                   "our own certificate, where the server asks for one"));
}

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Session = std::unique_ptr<SSL, decltype(&SSL_free)>;

absl::StatusOr<Context> MakeContext(const RedisTls& tls) {
  Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const auto bad = [](const char* option, const std::string& file) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": ", file, ": ", LastReason(), "; it must be a readable PEM file"));
  };
  if (tls.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else if (SSL_CTX_load_verify_locations(context.get(), tls.ca_file.c_str(), nullptr) != 1) {
    return bad("--redis-ca", tls.ca_file);
  }
  if (tls.cert_file.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), tls.cert_file.c_str()) != 1)
    return bad("--redis-cert", tls.cert_file);
  if (SSL_CTX_use_PrivateKey_file(context.get(), tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return bad("--redis-key", tls.key_file);
  return context;
}

class TlsSocket : public RedisSocket {
 public:
  explicit TlsSocket(int fd) : fd_(fd) {}
  ~TlsSocket() override {
    session_.reset();
    close(fd_);
  }

  absl::Status Start(const RedisAddress& address) {
    TS_ASSIGN_OR_RETURN(context_, MakeContext(address.tls_files));
    session_.reset(SSL_new(context_.get()));
    SSL* ssl = session_.get();
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, address.host.c_str()) != 1) {  // it is a name
      ERR_clear_error();
      X509_VERIFY_PARAM_set1_host(expected, address.host.c_str(), address.host.size());
      SSL_set_tlsext_host_name(ssl, address.host.c_str());
    }
    SSL_set_fd(ssl, fd_);
    const int connected = SSL_connect(ssl);
    if (connected == 1) return absl::OkStatus();
    if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK) {
      ERR_clear_error();
      return Refused(absl::StrCat("the server's certificate is not valid for ", address.host, ": ",
                                  X509_verify_cert_error_string(verified)));
    }
    const absl::Status failed = ErrorOf(connected);
    if (!absl::IsUnavailable(failed)) return failed;
    return absl::UnavailableError(
        absl::StrCat("TLS: ", failed.message(), "; is this the port of Redis' tls-port"));
  }

  absl::Status Write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const int sent = SSL_write(session_.get(), bytes.data(),
                                 static_cast<int>(std::min(bytes.size(), kMostAtOnce)));
      if (sent <= 0) return ErrorOf(sent);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Read(char* to, size_t room) override {
    const int got = SSL_read(session_.get(), to, static_cast<int>(std::min(room, kMostAtOnce)));
    if (got <= 0) return ErrorOf(got);
    heard_ = true;
    return static_cast<size_t>(got);
  }

 private:
  absl::Status ErrorOf(int result) {
    const int error = errno;
    switch (SSL_get_error(session_.get(), result)) {
      case SSL_ERROR_ZERO_RETURN:
        return Gone("the server closed the connection");
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        return absl::UnavailableError("no answer in time");
      case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return Gone(error == 0 ? "the server closed the connection" : std::strerror(error));
      default:
        break;
    }
    const std::string reason = LastReason();
    // How OpenSSL 3 says that the other side has died in the middle.
    if (reason == "unexpected eof while reading") return Gone("the server closed the connection");
    return Refused(reason);
  }

  // In TLS 1.3 a server that misses our certificate says so when we think that we are connected,
  // and its words may be lost with the connection.
  absl::Status Gone(const std::string& what) const {
    return absl::UnavailableError(
        heard_ ? what
               : absl::StrCat(what, " before it answered; if it asks for our own certificate, ",
                              "--redis-cert and --redis-key name it"));
  }

  const int fd_;
  bool heard_ = false;
  Context context_{nullptr, SSL_CTX_free};
  Session session_{nullptr, SSL_free};
};

}  // namespace

absl::StatusOr<std::unique_ptr<RedisSocket>> StartRedisTls(int fd, const RedisAddress& address) {
  auto socket = std::make_unique<TlsSocket>(fd);
  TS_RETURN_IF_ERROR(socket->Start(address));
  return socket;
}

}  // namespace tiltshift::store
