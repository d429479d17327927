// The calls of gRPC clients, all of them on one thread that polls one completion queue. A server
// with the callback or the synchronous interface has several polling threads, and gRPC hands each
// event from one to the next; that was half of what a turn cost (docs/performance.md). It is also
// what gRPC 1.30 can do. Messages are carried as bytes, whatever their type
// (grpc::AsyncGenericService); the typed side is call_server.h.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/cpus.h"
#include "base/status.h"

namespace tiltshift::scheduler {

class Call;

// The completion queue, and the one thread that polls it and calls gRPC: two that did would wait
// for each other's locks inside gRPC, which then moves the work to a third.
class Poller {
 public:
  // What gRPC tells of something under way.
  struct Tag {
    void* of = nullptr;
    void (*done)(void* of, bool ok) = nullptr;
  };

  explicit Poller(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~Poller();

  grpc::ServerCompletionQueue& queue() { return *queue_; }
  // The thread is called "clients".
  void Start(const Cpus& cpus);
  // Waits for every call to be over; its server has been told to shut down. (gRPC's Shutdown waits
  // for connections alone.)
  void Stop();
  void CountCall(int by);
  bool OnItsThread() const { return std::this_thread::get_id() == thread_.get_id(); }
  // Any thread: has the call write what it has to, soon, on the poller's.
  void WriteSoon(std::shared_ptr<Call> call);

 private:
  void OnWake();

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Call>> to_write_;
  int calls_ = 0;
  std::condition_variable no_calls_;
  bool waking_ = false, stopped_ = false;
  grpc::Alarm wake_;
  Tag wake_tag_;
};

// What becomes of a call. Called on the server's thread, which must not wait for anything.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // The client's next message. OK: another may follow. An error ends the call with it.
  virtual absl::Status OnMessage(grpc::ByteBuffer& message) = 0;
  // The client sends no more, or its next message could not be read (too long).
  virtual void OnLastMessage() {}
  // All that was written is on its way.
  virtual void OnWritten() {}
  // It is over: the client is gone or has its status. Nothing is called after it.
  virtual void OnOver() {}
};

// One call, as its handler and whoever answers later hold it; any thread.
class Call : public std::enable_shared_from_this<Call> {
 public:
  // The next call of any method: `taken` is told of it on the server's thread. Never, where the
  // server stops before there is one.
  using Taken = void (*)(void* server, const std::shared_ptr<Call>& call);
  static void Take(grpc::AsyncGenericService& service, Poller& poller, Taken taken, void* server);

  // "/tiltshift.v1.Farm/Submit".
  const std::string& method() const { return context_->method(); }
  // All of it before Start: where the call comes from, the metadata of that name, and whom the
  // client's certificate names, one that the server's CA signed.
  std::string peer() const { return context_->peer(); }
  std::vector<std::string> Metadata(const std::string& name) const;
  std::string CertificateName() const;

  // Before Start. `admit` judges the (first) message, and may change it; `ended` hears of the
  // status and the message that comes with it, or null, before the client does: once, on any
  // thread.
  using Admit = std::function<absl::Status(google::protobuf::Message& message)>;
  using Ended =
      std::function<void(const absl::Status& status, const google::protobuf::Message* message)>;
  void Guard(Admit admit, Ended ended);
  // For whoever reads the messages. OK where nobody guards it.
  absl::Status Admitted(google::protobuf::Message& message) const;
  // Reads until the client ends, or only `most` messages.
  void Start(std::shared_ptr<CallHandler> handler, size_t most);

  // In their order. Dropped once the call has its status or the client is gone.
  void Write(const google::protobuf::Message& message);
  // After all that is written; the first one counts. OK, or the error and its message, cut where it
  // is too long for a header; a NotLeading names the leader in the details.
  void Finish(const absl::Status& status);
  // A message and OK, at the cost of one.
  void FinishWith(const google::protobuf::Message& message);
  // Now, whatever still waits; the client is told CANCELLED.
  void Cancel();
  // Like Finish, but what waits is dropped, and nothing that the client still sends is heard.
  void End(const absl::Status& status);
  // Messages that wait for the client to take them, or for one that is being written.
  size_t waiting() const;
  // For the poller.
  void WriteOnPoller();

 private:
  explicit Call(Poller& poller);
  template <void (Call::*kDone)(bool ok)>
  Poller::Tag TagOf();
  void OnTaken(bool ok);
  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnDone(bool ok);  // the client has its status, or is gone
  void Settle(bool ok);
  void Read();
  void Queue(const google::protobuf::Message* message, const absl::Status* status);
  void WriteNext();  // with the lock held
  void TellEnded(const absl::Status& status, const google::protobuf::Message* message);

  Poller& poller_;
  Taken taken_ = nullptr;
  void* server_ = nullptr;
  Poller::Tag take_, read_, write_, finish_, done_;
  std::shared_ptr<CallHandler> handler_;
  Admit admit_;
  Ended ended_;
  size_t to_read_ = 0;
  std::atomic<bool> deaf_{false};
  grpc::ByteBuffer incoming_;

  mutable std::mutex mutex_;
  std::shared_ptr<Call> self_;  // while gRPC holds tags
  std::unique_ptr<grpc::GenericServerContext> context_ =
      std::make_unique<grpc::GenericServerContext>();
  std::unique_ptr<grpc::GenericServerAsyncReaderWriter> stream_ =
      std::make_unique<grpc::GenericServerAsyncReaderWriter>(context_.get());
  int under_way_ = 0;  // tags that gRPC has
  std::deque<grpc::ByteBuffer> outgoing_;
  bool posted_ = false, writing_ = false, finishing_ = false, gone_ = false;
  std::optional<absl::Status> status_;
};

}  // namespace tiltshift::scheduler
