#include "gallery/http_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>

namespace tiltshift::gallery {
namespace {

constexpr int kLingerMs = 200;
constexpr unsigned char kHttp11[] = "\x08http/1.1";

int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* length,
                   const unsigned char* offered, unsigned int offered_length, void*) {
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, length, kHttp11, sizeof(kHttp11) - 1, offered, offered_length);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

int64_t SteadyNowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct TlsContext::Native {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  ~Native() { SSL_CTX_free(context); }
};

TlsContext::TlsContext(std::unique_ptr<Native> native) : native_(std::move(native)) {}
TlsContext::~TlsContext() = default;

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Load(const std::string& cert,
                                                             const std::string& key) {
  auto native = std::make_unique<Native>();
  SSL_CTX* context = native->context;
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
  const auto unfit = [](const std::string& file, const char* what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
  };
  if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1)
    return unfit(cert, "cannot be read as a certificate in PEM");
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return unfit(key, "cannot be read as the certificate's private key in PEM");
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(native)));
}

struct HttpSocket::Native {
  explicit Native(SSL_CTX* context) : ssl(SSL_new(context)) {}
  ~Native() { SSL_free(ssl); }
  SSL* const ssl;
};

HttpSocket::HttpSocket(int fd, const TlsContext* tls) : fd_(fd) {
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  if (tls == nullptr) return;
  native_ = std::make_unique<Native>(tls->native_->context);
  SSL_set_fd(native_->ssl, fd_);
}

HttpSocket::~HttpSocket() {
  native_.reset();
  close(fd_);
}

bool HttpSocket::WaitFor(Want want, int64_t deadline_ms) const {
  for (;;) {
    const int64_t left = deadline_ms - SteadyNowMs();
    if (left <= 0) return false;
    pollfd ready{fd_, static_cast<short>(want == Want::kRead ? POLLIN : POLLOUT), 0};
    const int count = poll(&ready, 1, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (count > 0) return true;
    if (count == 0 || errno != EINTR) return false;
  }
}

template <typename Step>
int HttpSocket::Repeat(Step step, Want usual, int64_t deadline_ms) {
  for (;;) {
    if (native_ != nullptr) ERR_clear_error();
    errno = 0;
    const int done = step();
    if (done > 0) return done;
    Want want = usual;
    if (native_ != nullptr) {
      const int error = SSL_get_error(native_->ssl, done);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return 0;
      want = error == SSL_ERROR_WANT_READ ? Want::kRead : Want::kWrite;
    } else if (done == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      return 0;
    }
    if (!WaitFor(want, deadline_ms)) return 0;
  }
}

bool HttpSocket::Open(int64_t deadline_ms) {
  if (native_ == nullptr) return true;
  return Repeat([&] { return SSL_accept(native_->ssl); }, Want::kRead, deadline_ms) == 1;
}

size_t HttpSocket::Read(char* to, size_t most, int64_t deadline_ms) {
  const int length = static_cast<int>(std::min<size_t>(most, 1 << 20));
  const int count = Repeat(
      [&] {
        if (native_ != nullptr) return SSL_read(native_->ssl, to, length);
        return static_cast<int>(recv(fd_, to, static_cast<size_t>(length), 0));
      },
      Want::kRead, deadline_ms);
  return static_cast<size_t>(count);
}

bool HttpSocket::Write(std::string_view bytes, int64_t deadline_ms) {
  while (!bytes.empty()) {
    const int length = static_cast<int>(std::min<size_t>(bytes.size(), 1 << 16));
    const int count = Repeat(
        [&] {
          if (native_ != nullptr) return SSL_write(native_->ssl, bytes.data(), length);
          return static_cast<int>(
              send(fd_, bytes.data(), static_cast<size_t>(length), MSG_NOSIGNAL));
        },
        Want::kWrite, deadline_ms);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool HttpSocket::Pause(int ms) {
  pollfd gone{fd_, POLLRDHUP, 0};
  return poll(&gone, 1, ms) == 0;
}

void HttpSocket::Linger() {
  if (native_ != nullptr) SSL_shutdown(native_->ssl);
  shutdown(fd_, SHUT_WR);
  char rest[4096];
  const int64_t until = SteadyNowMs() + kLingerMs;
  while (WaitFor(Want::kRead, until) && recv(fd_, rest, sizeof(rest), 0) > 0) {
  }
}

void HttpSocket::Interrupt() { shutdown(fd_, SHUT_RDWR); }

}  // namespace tiltshift::gallery
