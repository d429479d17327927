#include "scheduler/call.h"

#include <pthread.h>

#include <utility>

#include "access/rate_limits.h"
#include "base/check.h"
#include "base/shortened.h"
#include "proto/leader.h"
#include "scheduler/farm_loop.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Shortened(Message(status), kLongestMessage);
  if (const auto leader = LeaderOf(status); leader.has_value())
    return NotLeadingStatus(message, *leader);
  const grpc::Status plain(static_cast<grpc::StatusCode>(status.code()), message);
  const int64_t retry_ms = access::RetryInMs(status);
  return retry_ms == 0 ? plain : RetryStatus(plain, retry_ms);
}

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  using Traits = grpc::SerializationTraits<google::protobuf::Message>;
  TS_CHECK(Traits::Serialize(message, &bytes, &own).ok());
  return bytes;
}

}  // namespace

Poller::Poller(std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : queue_(std::move(queue)), wake_tag_{this, [](void* poller, bool) {
                                            static_cast<Poller*>(poller)->OnWake();
                                          }} {}

Poller::~Poller() { Stop(); }

void Poller::Start(const Cpus& cpus) {
  thread_ = std::thread([this, cpus] {
    pthread_setname_np(pthread_self(), "clients");
    cpus.Keep();
    void* tag = nullptr;
    for (bool ok = false; queue_->Next(&tag, &ok);) {
      const Tag& done = *static_cast<Tag*>(tag);
      done.done(done.of, ok);
    }
  });
}

void Poller::Stop() {
  {
    std::unique_lock lock(mutex_);
    if (stopped_) return;
    no_calls_.wait(lock, [this] { return calls_ == 0; });
    stopped_ = true;
  }
  queue_->Shutdown();
  if (thread_.joinable()) thread_.join();
}

void Poller::CountCall(int by) {
  std::lock_guard lock(mutex_);
  calls_ += by;
  if (calls_ == 0) no_calls_.notify_all();
}

void Poller::WriteSoon(std::shared_ptr<Call> call) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  to_write_.push_back(std::move(call));
  if (std::exchange(waking_, true)) return;
  wake_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), &wake_tag_);
}

void Poller::OnWake() {
  std::vector<std::shared_ptr<Call>> calls;
  {
    std::lock_guard lock(mutex_);
    waking_ = false;
    calls.swap(to_write_);
  }
  for (const auto& call : calls) call->WriteOnPoller();
}

template <void (Call::*kDone)(bool ok)>
Poller::Tag Call::TagOf() {
  return {this, [](void* call, bool ok) { (static_cast<Call*>(call)->*kDone)(ok); }};
}

Call::Call(Poller& poller)
    : poller_(poller),
      take_(TagOf<&Call::OnTaken>()),
      read_(TagOf<&Call::OnRead>()),
      write_(TagOf<&Call::OnWrite>()),
      finish_(TagOf<&Call::Settle>()),
      done_(TagOf<&Call::OnDone>()) {}

void Call::Take(grpc::AsyncGenericService& service, Poller& poller, Taken taken, void* server) {
  std::shared_ptr<Call> call(new Call(poller));
  call->taken_ = taken;
  call->server_ = server;
  call->self_ = call;
  poller.CountCall(1);
  call->context_->AsyncNotifyWhenDone(&call->done_);
  service.RequestCall(call->context_.get(), call->stream_.get(), &poller.queue(), &poller.queue(),
                      &call->take_);
}

// gRPC gives the "done" tag of a call that was taken, and of no other.
void Call::OnTaken(bool ok) {
  under_way_ = ok ? 2 : 1;
  if (ok) taken_(server_, self_);
  Settle(ok);
}

std::vector<std::string> Call::Metadata(const std::string& name) const {
  std::vector<std::string> values;
  const auto [first, last] = context_->client_metadata().equal_range(name);
  for (auto entry = first; entry != last; ++entry)
    values.emplace_back(entry->second.data(), entry->second.size());
  return values;
}

std::string Call::CertificateName() const {
  const auto auth = context_->auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return "";
  for (const char* property : {"x509_common_name", "x509_subject_alternative_name"}) {
    const auto values = auth->FindPropertyValues(property);
    if (!values.empty() && !values[0].empty()) return {values[0].data(), values[0].size()};
  }
  return "a certificate without a name";
}

void Call::Guard(Admit admit, Ended ended) {
  admit_ = std::move(admit);
  ended_ = std::move(ended);
}

absl::Status Call::Admitted(google::protobuf::Message& message) const {
  return admit_ == nullptr ? absl::OkStatus() : admit_(message);
}

// With the lock held.
void Call::TellEnded(const absl::Status& status, const google::protobuf::Message* message) {
  if (const Ended ended = std::exchange(ended_, nullptr); ended != nullptr) ended(status, message);
}

void Call::Start(std::shared_ptr<CallHandler> handler, size_t most) {
  handler_ = std::move(handler);
  to_read_ = most;
  Read();
}

void Call::Read() {
  std::lock_guard lock(mutex_);
  if (to_read_ == 0 || finishing_ || gone_ || deaf_) return;
  --to_read_;
  ++under_way_;
  stream_->Read(&incoming_, &read_);
}

void Call::OnRead(bool ok) {
  if (deaf_) {
    incoming_.Clear();
  } else if (ok) {
    const absl::Status status = handler_->OnMessage(incoming_);
    incoming_.Clear();
    if (status.ok()) {
      Read();
    } else {
      Finish(status);
    }
  } else {
    handler_->OnLastMessage();
  }
  Settle(ok);
}

void Call::Write(const google::protobuf::Message& message) { Queue(&message, nullptr); }

void Call::Finish(const absl::Status& status) { Queue(nullptr, &status); }

void Call::FinishWith(const google::protobuf::Message& message) {
  const absl::Status ok;
  Queue(&message, &ok);
}

void Call::Queue(const google::protobuf::Message* message, const absl::Status* status) {
  grpc::ByteBuffer bytes;
  if (message != nullptr) bytes = ToBytes(*message);
  std::lock_guard lock(mutex_);
  if (gone_ || status_.has_value()) return;
  if (message != nullptr) outgoing_.push_back(std::move(bytes));
  if (status != nullptr) {
    status_ = *status;
    TellEnded(*status, message);
  }
  if (poller_.OnItsThread()) return WriteNext();
  if (!writing_ && !std::exchange(posted_, true)) poller_.WriteSoon(shared_from_this());
}

void Call::End(const absl::Status& status) {
  deaf_ = true;
  {
    std::lock_guard lock(mutex_);
    if (gone_ || finishing_) return;
    outgoing_.resize(writing_ ? 1 : 0);
    if (status_.has_value()) status_ = status;
  }
  Finish(status);
}

void Call::WriteOnPoller() {
  std::lock_guard lock(mutex_);
  posted_ = false;
  WriteNext();
}

void Call::Cancel() {
  std::lock_guard lock(mutex_);
  if (gone_ || context_ == nullptr) return;
  gone_ = true;
  context_->TryCancel();
}

void Call::WriteNext() {
  if (writing_ || finishing_ || gone_) return;
  if (status_.has_value() && outgoing_.size() <= 1) {
    finishing_ = true;
    ++under_way_;
    if (outgoing_.empty()) {
      stream_->Finish(ToGrpc(*status_), &finish_);
    } else {
      stream_->WriteAndFinish(outgoing_.front(), grpc::WriteOptions(), ToGrpc(*status_), &finish_);
    }
  } else if (!outgoing_.empty()) {
    writing_ = true;
    ++under_way_;
    stream_->Write(outgoing_.front(), &write_);
  }
}

void Call::OnWrite(bool ok) {
  bool all_written = false;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    if (!ok) gone_ = true;
    WriteNext();
    all_written = !writing_ && !finishing_ && !gone_;
  }
  if (all_written) handler_->OnWritten();
  Settle(ok);
}

void Call::OnDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
  }
  Settle(ok);
}

// The end of each tag. With the last one it lets go of gRPC's call, which keeps the server from
// stopping.
void Call::Settle(bool) {
  std::shared_ptr<Call> self;
  std::shared_ptr<CallHandler> handler;
  {
    std::lock_guard lock(mutex_);
    if (--under_way_ > 0) return;
    TellEnded(absl::CancelledError("the client went away"), nullptr);
    outgoing_.clear();
    stream_.reset();
    context_.reset();
    self = std::move(self_);
    handler = std::move(handler_);
  }
  if (handler != nullptr) handler->OnOver();
  poller_.CountCall(-1);
}

size_t Call::waiting() const {
  std::lock_guard lock(mutex_);
  return outgoing_.size();
}

}  // namespace tiltshift::scheduler
