#include "bench/wire_client.h"

#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"

namespace tiltshift::bench {
namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr auto kPatience = std::chrono::seconds(20);
constexpr int32_t kWindow = 1 << 24;
constexpr size_t kPrefix = 5;  // of a message: not compressed, and its length

int Dial(const std::string& address) {
  TS_CHECK(address.rfind("unix:", 0) == 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = address.substr(5);
  TS_CHECK(path.size() < sizeof(name.sun_path));
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  TS_CHECK(fd >= 0);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    TS_CHECK(std::chrono::steady_clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return fd;
}

nghttp2_nv Header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct WireClient::Connection {
  WireClient* client = nullptr;
  int fd = -1;
  nghttp2_session* session = nullptr;
  std::string unsent;
  bool dirty = false, full = false;  // in dirty_; the socket takes no more now

  ~Connection() {
    nghttp2_session_del(session);
    close(fd);
  }
};

struct WireClient::Call {
  int number = 0;
  Connection* connection = nullptr;
  int32_t stream = 0;
  std::string out, in;  // with prefixes; of `in` only the message that has not all come
};

struct WireCallbacks {
  static WireClient::Call& CallOf(nghttp2_session* session, int32_t stream) {
    return *static_cast<WireClient::Call*>(nghttp2_session_get_stream_user_data(session, stream));
  }

  static ssize_t Give(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t*,
                      nghttp2_data_source* source, void*) {
    auto& call = *static_cast<WireClient::Call*>(source->ptr);
    if (call.out.empty()) return NGHTTP2_ERR_DEFERRED;
    const size_t given = std::min(size, call.out.size());
    std::memcpy(buffer, call.out.data(), given);
    call.out.erase(0, given);
    return static_cast<ssize_t>(given);
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream, const uint8_t* data,
                    size_t size, void* connection) {
    static_cast<WireClient::Connection*>(connection)
        ->client->Take(CallOf(session, stream), {reinterpret_cast<const char*>(data), size});
    return 0;
  }

  static int OnClose(nghttp2_session* session, int32_t stream, uint32_t, void* connection) {
    WireClient& client = *static_cast<WireClient::Connection*>(connection)->client;
    client.events_.ended(CallOf(session, stream).number);
    return 0;
  }
};

WireClient::WireClient(const std::string& address, const std::string& method, int calls,
                       int connections, Events events)
    : events_(std::move(events)), epoll_(epoll_create1(EPOLL_CLOEXEC)), received_(kReadBytes, 0) {
  TS_CHECK(epoll_ >= 0);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, WireCallbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, WireCallbacks::OnClose);
  for (int i = 0; i < std::min(calls, connections); ++i) {
    auto connection = std::make_unique<Connection>();
    connection->client = this;
    connection->fd = Dial(address);
    nghttp2_session_client_new(&connection->session, callbacks, connection.get());
    const std::array<nghttp2_settings_entry, 2> settings{
        {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}}};
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings.data(),
                            settings.size());
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, kWindow);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection.get();
    TS_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, connection->fd, &event) == 0);
    connections_.push_back(std::move(connection));
  }
  nghttp2_session_callbacks_del(callbacks);
  const std::array<nghttp2_nv, 6> headers{
      {Header(":method", "POST"), Header(":scheme", "http"), Header(":path", method),
       Header(":authority", "localhost"), Header("te", "trailers"),
       Header("content-type", "application/grpc")}};
  for (int i = 0; i < calls; ++i) {
    auto call = std::make_unique<Call>();
    call->number = i;
    call->connection = connections_[i % connections_.size()].get();
    nghttp2_data_provider provider{};
    provider.source.ptr = call.get();
    provider.read_callback = WireCallbacks::Give;
    call->stream = nghttp2_submit_request(call->connection->session, nullptr, headers.data(),
                                          headers.size(), &provider, call.get());
    TS_CHECK(call->stream > 0);
    calls_.push_back(std::move(call));
  }
  for (const auto& connection : connections_) {
    connection->dirty = true;
    dirty_.push_back(connection.get());
  }
}

WireClient::~WireClient() {
  connections_.clear();  // the calls outlive the streams that name them
  close(epoll_);
}

void WireClient::Send(int number, const google::protobuf::MessageLite& message) {
  Call& call = *calls_[number];
  const size_t size = message.ByteSizeLong(), at = call.out.size();
  call.out.resize(at + kPrefix + size);
  auto* bytes = reinterpret_cast<uint8_t*>(call.out.data()) + at;
  bytes[0] = 0;
  for (int i = 0; i < 4; ++i) bytes[1 + i] = static_cast<uint8_t>(size >> (24 - 8 * i));
  message.SerializeWithCachedSizesToArray(bytes + kPrefix);
  nghttp2_session_resume_data(call.connection->session, call.stream);  // no error where it runs
  if (!std::exchange(call.connection->dirty, true)) dirty_.push_back(call.connection);
}

void WireClient::Wait(std::chrono::steady_clock::time_point until) {
  for (Connection* connection : std::exchange(dirty_, {})) Flush(*connection);
  const auto left =
      std::max(std::chrono::nanoseconds(0), std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                until - std::chrono::steady_clock::now()));
  const timespec wait{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
  std::array<epoll_event, 64> ready{};
  const int count = epoll_pwait2(epoll_, ready.data(), ready.size(), &wait, nullptr);
  TS_CHECK(count >= 0 || errno == EINTR);
  for (int i = 0; i < count; ++i) {
    Connection& connection = *static_cast<Connection*>(ready[i].data.ptr);
    if ((ready[i].events & EPOLLOUT) != 0) Flush(connection);
    if ((ready[i].events & ~EPOLLOUT) != 0) Read(connection);
  }
}

void WireClient::Read(Connection& connection) {
  const ssize_t size = recv(connection.fd, received_.data(), received_.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {  // the server is gone
    epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.fd, nullptr);
    for (const auto& call : calls_) {
      if (call->connection == &connection) events_.ended(call->number);
    }
    return;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(received_.data());
  TS_CHECK(nghttp2_session_mem_recv(connection.session, bytes, static_cast<size_t>(size)) == size);
  Flush(connection);
}

// What nghttp2 has to say, messages and its own frames, in as few writes as the socket takes.
void WireClient::Flush(Connection& connection) {
  connection.dirty = false;
  const uint8_t* bytes = nullptr;
  for (ssize_t size = 0; (size = nghttp2_session_mem_send(connection.session, &bytes)) > 0;)
    connection.unsent.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  std::string& unsent = connection.unsent;
  while (!unsent.empty()) {
    const ssize_t sent =
        send(connection.fd, unsent.data(), unsent.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) break;
    unsent.erase(0, static_cast<size_t>(sent));
  }
  const bool full = !unsent.empty();
  if (full == connection.full) return;
  connection.full = full;
  epoll_event event{};
  event.events = EPOLLIN;
  if (full) event.events |= EPOLLOUT;
  event.data.ptr = &connection;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void WireClient::Take(Call& call, std::string_view bytes) {
  call.in.append(bytes);
  size_t at = 0;
  while (call.in.size() - at >= kPrefix) {
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(call.in[at + 1 + i]);
    if (call.in.size() - at - kPrefix < size) break;
    events_.message(call.number, std::string_view(call.in).substr(at + kPrefix, size));
    at += kPrefix + size;
  }
  call.in.erase(0, at);
}

}  // namespace tiltshift::bench
