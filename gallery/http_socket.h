// One connection's bytes, plain or in TLS, each step with a deadline: a peer that is slow, or gone,
// holds nobody up for longer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::gallery {

// A server's certificate and key, for connections in TLS 1.2 or 1.3.
class TlsContext {
 public:
  // PEM files, the certificate followed by those that signed it. InvalidArgument names the file.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Load(const std::string& cert,
                                                          const std::string& key);
  ~TlsContext();

 private:
  friend class HttpSocket;
  struct Native;
  explicit TlsContext(std::unique_ptr<Native> native);
  std::unique_ptr<Native> native_;
};

// Deadlines are of SteadyNowMs.
int64_t SteadyNowMs();

class HttpSocket {
 public:
  // Takes the descriptor. `tls` may be null, and must outlive it.
  HttpSocket(int fd, const TlsContext* tls);
  ~HttpSocket();

  // In TLS: the handshake. False: it failed, or took too long.
  bool Open(int64_t deadline_ms);
  // Bytes read; 0: the peer is done, gone, or was too slow.
  size_t Read(char* to, size_t most, int64_t deadline_ms);
  bool Write(std::string_view bytes, int64_t deadline_ms);
  // Waits so long; false at once where the peer is gone.
  bool Pause(int ms);
  // Says that no more comes, and waits a moment for the peer to have read what came: to close with
  // bytes unread would throw that away.
  void Linger();
  // Any thread: ends whatever waits, for good.
  void Interrupt();

 private:
  enum class Want { kRead, kWrite };
  bool WaitFor(Want want, int64_t deadline_ms) const;
  // The native call's result, repeated while it waits; <= 0: it is over.
  template <typename Step>
  int Repeat(Step step, Want usual, int64_t deadline_ms);

  struct Native;
  const int fd_;
  std::unique_ptr<Native> native_;  // null: no TLS
};

}  // namespace tiltshift::gallery
