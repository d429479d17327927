#include "scheduler/worker_service.h"

#include <deque>
#include <mutex>

#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kMostWaiting = 10'000;  // messages a worker may be behind

class SessionStream : public WorkerStream {
 public:
  explicit SessionStream(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  // On the call's thread.
  void Add(grpc::ByteBuffer& message) {
    std::lock_guard lock(mutex_);
    messages_.emplace_back().Swap(&message);
  }
  absl::StatusOr<v1::WorkerMessage> Next() override {
    grpc::ByteBuffer bytes;
    {
      std::lock_guard lock(mutex_);
      bytes.Swap(&messages_.front());
      messages_.pop_front();
    }
    TS_ASSIGN_OR_RETURN(auto message, Parse<v1::WorkerMessage>(bytes));
    TS_RETURN_IF_ERROR(CheckMessage(message));
    return message;
  }
  void Send(const v1::SchedulerMessage& message) override {
    call_->Write(message);
    if (call_->waiting() > kMostWaiting) call_->Cancel();  // it may connect again
  }
  void End(const absl::Status& why) override { call_->Finish(why); }

 private:
  const std::shared_ptr<Call> call_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> messages_;
};

class Session : public CallHandler {
 public:
  Session(std::shared_ptr<Call> call, FarmLoop& loop, monitoring::Histogram seconds)
      : timer_(seconds),
        loop_(loop),
        call_(std::move(call)),
        stream_(std::make_shared<SessionStream>(call_)) {}

  absl::Status OnMessage(grpc::ByteBuffer& bytes) override {
    if (worker_id_.empty()) return Greet(bytes);
    stream_->Add(bytes);
    loop_.Receive(stream_, worker_id_);
    return absl::OkStatus();
  }
  void OnLastMessage() override { call_->Finish(absl::OkStatus()); }
  void OnOver() override {
    if (!worker_id_.empty()) loop_.Disconnect(stream_.get(), worker_id_);
  }

 private:
  absl::Status Greet(grpc::ByteBuffer& bytes) {
    TS_ASSIGN_OR_RETURN(const auto message, Parse<v1::WorkerMessage>(bytes));
    TS_RETURN_IF_ERROR(loop_.Leading());
    if (!message.has_hello()) return absl::InvalidArgumentError("the first message must be hello");
    TS_RETURN_IF_ERROR(CheckHello(message.hello()));
    worker_id_ = message.hello().worker_id();
    loop_.Connect(stream_, message.hello());
    return absl::OkStatus();
  }

  const monitoring::Timer timer_;
  FarmLoop& loop_;
  const std::shared_ptr<Call> call_;
  const std::shared_ptr<SessionStream> stream_;
  std::string worker_id_;
};

}  // namespace

void AddWorkerService(CallServer& server, FarmLoop& loop, monitoring::SchedulerMetrics& metrics) {
  server.BidiStream("/tiltshift.v1.Workers/Session",
                    [&loop, seconds = metrics.session_seconds](std::shared_ptr<Call> call) {
                      return std::make_shared<Session>(std::move(call), loop, seconds);
                    });
}

}  // namespace tiltshift::scheduler
