#include "scheduler/worker_service.h"

#include <deque>
#include <mutex>

#include "scheduler/farm_service.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kMostQueued = 10'000;  // messages a worker may be behind

// gRPC owns the reactor until OnDone; the loop holds the stream. The stream outlives the reactor
// and then drops what is sent.
class SessionReactor;

class SessionStream : public WorkerStream {
 public:
  explicit SessionStream(SessionReactor* reactor) : reactor_(reactor) {}
  void Send(v1::SchedulerMessage message) override;
  void End(const absl::Status& why) override;
  void Detach() {
    std::lock_guard lock(mutex_);
    reactor_ = nullptr;
  }

 private:
  std::mutex mutex_;
  SessionReactor* reactor_;
};

class SessionReactor : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage> {
 public:
  SessionReactor(FarmLoop& loop, monitoring::Histogram seconds)
      : timer_(seconds), loop_(loop), stream_(std::make_shared<SessionStream>(this)) {
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      End(grpc::Status::OK);
      return;
    }
    if (worker_id_.empty()) {
      if (!Greet()) return;
    } else {
      if (const absl::Status fine = CheckMessage(incoming_); !fine.ok()) return End(ToGrpc(fine));
      loop_.Receive(stream_, worker_id_, std::move(incoming_));
    }
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void Queue(v1::SchedulerMessage message) {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    if (outgoing_.size() >= kMostQueued) {
      finished_ = true;
      Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "the worker reads too slowly; connect again"});
      return;
    }
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    outgoing_.pop_front();
    if (ok && !outgoing_.empty()) StartWrite(&outgoing_.front());
  }

  void OnCancel() override { End(grpc::Status::CANCELLED); }

  void OnDone() override {
    stream_->Detach();
    if (!worker_id_.empty()) loop_.Disconnect(stream_.get(), worker_id_);
    delete this;
  }

  void End(const grpc::Status& status) {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

 private:
  bool Greet() {
    if (const absl::Status leading = loop_.Leading(); !leading.ok()) {
      End(ToGrpc(leading));
      return false;
    }
    const v1::Hello& hello = incoming_.hello();
    const absl::Status fine = incoming_.has_hello()
                                  ? CheckHello(hello)
                                  : absl::InvalidArgumentError("the first message must be hello");
    if (!fine.ok()) {
      End(ToGrpc(fine));
      return false;
    }
    worker_id_ = hello.worker_id();
    loop_.Connect(stream_, hello);
    return true;
  }

  const monitoring::Timer timer_;
  FarmLoop& loop_;
  std::shared_ptr<SessionStream> stream_;
  std::string worker_id_;
  v1::WorkerMessage incoming_;
  std::mutex mutex_;
  std::deque<v1::SchedulerMessage> outgoing_;
  bool finished_ = false;
};

void SessionStream::Send(v1::SchedulerMessage message) {
  std::lock_guard lock(mutex_);
  if (reactor_ != nullptr) reactor_->Queue(std::move(message));
}

void SessionStream::End(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  if (reactor_ != nullptr) reactor_->End(ToGrpc(why));
}

}  // namespace

grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* WorkerService::Session(
    grpc::CallbackServerContext*) {
  return new SessionReactor(loop_, metrics_.session_seconds);
}

}  // namespace tiltshift::scheduler
