// The calls of gRPC clients, all of them on one thread that polls one completion queue. A server
// with the callback or the synchronous interface has several polling threads, and gRPC hands each
// event from one to the next; that was half of what a turn cost (docs/performance.md). It is also
// what gRPC 1.30 can do. Messages are carried as bytes, whatever their type
// (grpc::AsyncGenericService); the typed side is call_server.h.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.h"

namespace tiltshift::scheduler {

class Call;

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
  // The next call of any method, once there is one. `taken` is then told, on the server's thread,
  // with false where the server is about to stop.
  using Taken = void (*)(void* server, std::shared_ptr<Call> call, bool ok);
  static void Take(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue,
                   Taken taken, void* server);
  // What a completion queue gave, to be called with what it said of it.
  static void Proceed(void* tag, bool ok);

  // "/tiltshift.v1.Farm/Submit".
  const std::string& method() const { return context_->method(); }
  // Reads until the client ends, or only `most` messages.
  void Start(std::shared_ptr<CallHandler> handler, size_t most = SIZE_MAX);

  // In their order. Dropped once the call has its status or the client is gone.
  void Write(const google::protobuf::Message& message);
  // After all that is written; the first one counts. OK, or the error and its message, cut where it
  // is too long for a header; a NotLeading names the leader in the details.
  void Finish(const absl::Status& status);
  // A message and OK, at the cost of one.
  void FinishWith(const google::protobuf::Message& message);
  // Now, whatever still waits; the client is told CANCELLED.
  void Cancel();
  // Messages that wait for the client to take them, or for one that is being written.
  size_t waiting() const;

 private:
  // What is under way, each at most once at a time.
  struct Tag {
    Call* call = nullptr;
    void (Call::*done)(bool ok) = nullptr;
  };
  Call();
  void OnTaken(bool ok);
  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnFinish(bool ok);
  void OnDone(bool ok);  // the client has its status, or is gone
  void Read();
  void WriteNext();  // with the lock held
  void End(std::unique_lock<std::mutex> lock);

  Taken taken_ = nullptr;
  void* server_ = nullptr;
  Tag take_, read_, write_, finish_, done_;
  std::shared_ptr<CallHandler> handler_;
  size_t to_read_ = 0;
  grpc::ByteBuffer incoming_;

  mutable std::mutex mutex_;
  std::shared_ptr<Call> self_;  // while gRPC holds tags
  std::unique_ptr<grpc::GenericServerContext> context_ =
      std::make_unique<grpc::GenericServerContext>();
  std::unique_ptr<grpc::GenericServerAsyncReaderWriter> stream_ =
      std::make_unique<grpc::GenericServerAsyncReaderWriter>(context_.get());
  int under_way_ = 0;  // tags that gRPC has
  std::deque<grpc::ByteBuffer> outgoing_;
  bool writing_ = false, finishing_ = false, gone_ = false;
  std::optional<absl::Status> status_;
};

}  // namespace tiltshift::scheduler
