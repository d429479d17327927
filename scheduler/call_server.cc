#include "scheduler/call_server.h"

#include <google/protobuf/descriptor.h>

#include <chrono>
#include <set>

#include "absl/strings/match.h"
#include "base/check.h"
#include "base/log.h"
#include "proto/channel.h"
#include "scheduler/farm_loop.h"
#include "scheduler/guarded_stream.h"

namespace tiltshift::scheduler {
namespace {

constexpr int kTaking = 16;               // calls that gRPC may have ready at once for the thread
constexpr int64_t kTellWithinMs = 2'000;  // a client that does not read is cut off then
constexpr auto kEndWithin = std::chrono::seconds(1);

// Where a call comes from. The gallery calls from within this process, and says for whom.
std::string PeerOf(const Call& call) {
  const std::string peer = call.peer();
  if (peer != "unknown" && !absl::StartsWith(peer, "inproc")) return peer;  // by gRPC's version
  const auto visitor = call.Metadata("x-gallery-visitor");
  return absl::StrCat("gallery:", visitor.empty() ? "" : visitor[0]);
}

std::string ServiceOf(const std::string& method) { return method.substr(1, method.rfind('/') - 1); }

}  // namespace

CallServer::~CallServer() { Stop(); }

std::vector<std::string> CallServer::Services() const {
  std::set<std::string> names;
  for (const auto& [name, method] : methods_) names.insert(ServiceOf(name));
  return {names.begin(), names.end()};
}

std::string TraceparentOf(const Call& call) {
  const auto brought = call.Metadata("traceparent");
  return brought.size() == 1 && !TraceId(brought[0]).empty() ? brought[0] : NewTraceparent();
}

absl::Status CallServer::Start(const std::string& address,
                               const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : Services()) {
    const auto* service = pool->FindServiceByName(name);
    TS_CHECK(service != nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      const std::string method = absl::StrCat("/", name, "/", service->method(i)->name());
      TS_CHECK(methods_.count(method) == 1);
      TS_CHECK(access::RuleOf(method) != nullptr);
    }
  }
  grpc::ServerBuilder builder;
  AllowPings(builder);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);  // counts every message, for nobody
  builder.AddListeningPort(address, credentials);
  builder.RegisterAsyncGenericService(&service_);
  poller_ = std::make_unique<Poller>(builder.AddCompletionQueue());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, "; is another scheduler there?"));
  }
  for (int i = 0; i < kTaking; ++i) TakeNext();
  poller_->Start(cpus_);
  return absl::OkStatus();
}

void CallServer::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + kEndWithin);
  poller_->Stop();
  server_.reset();
}

void CallServer::TakeNext() {
  Call::Take(
      service_, *poller_,
      [](void* server, const std::shared_ptr<Call>& call) {
        static_cast<CallServer*>(server)->Begin(call);
      },
      this);
}

void CallServer::Begin(const std::shared_ptr<Call>& call) {
  TakeNext();  // first: the server may stop once this call has ended
  const auto method = methods_.find(call->method());
  const bool known = method != methods_.end();
  std::shared_ptr<access::Admission> admission;
  if (gate_ != nullptr) {
    auto let_in = LetIn(call, known && method->second.stream);
    if (!let_in.ok()) return call->Finish(let_in.status());
    admission = *std::move(let_in);
  }
  if (!known)
    return call->Finish(absl::UnimplementedError(absl::StrCat(
        "there is no method ", call->method(), "; is the client of another version?")));
  auto handler = method->second.open(call);
  if (admission != nullptr && method->second.stream)
    handler = GuardedStream(call, *gate_, std::move(admission), std::move(handler));
  call->Start(std::move(handler), method->second.messages);
}

absl::StatusOr<std::shared_ptr<access::Admission>> CallServer::LetIn(
    const std::shared_ptr<Call>& call, bool stream) {
  auto admission = gate_->Begin(
      {call->method(), PeerOf(*call), call->Metadata("authorization"), call->CertificateName()});
  // Another scheduler may know the tokens by now.
  if (absl::IsUnavailable(admission.status())) return NotLeading(Message(admission.status()), "");
  if (!admission.ok()) return admission;
  const auto admitted = *admission;
  uint64_t number = 0;  // among streams_; 0: none of them
  if (stream && admitted->caller != nullptr) {
    std::lock_guard lock(streams_mutex_);
    number = ++last_stream_;
    streams_[number] = {call, admitted->caller};
  }
  call->Guard(
      [this, admitted](google::protobuf::Message& message) {
        gate_->Count(*admitted, message.ByteSizeLong());
        return gate_->Admit(*admitted, message);
      },
      [this, admitted, number](const absl::Status& status,
                               const google::protobuf::Message* message) {
        gate_->End(*admitted, status, message);
        std::lock_guard lock(streams_mutex_);
        const auto stream = streams_.find(number);
        if (stream != streams_.end() && stream->second.ended_ms == 0) streams_.erase(stream);
      });
  return admission;
}

void CallServer::EndStreams(const Clock& clock) {
  std::vector<std::pair<std::shared_ptr<Call>, absl::Status>> ending, stuck;
  {
    std::lock_guard lock(streams_mutex_);
    for (auto at = streams_.begin(); at != streams_.end();) {
      OpenStream& stream = at->second;
      const absl::Status valid = stream.caller->Valid(clock.UnixMs());
      const bool told = stream.ended_ms != 0;
      const bool waited = told && clock.SteadyMs() - stream.ended_ms > kTellWithinMs;
      auto call = valid.ok() ? nullptr : stream.call.lock();
      if (call != nullptr && !told) {
        stream.ended_ms = clock.SteadyMs();
        ending.emplace_back(std::move(call), valid);
      } else if (call != nullptr && waited) {
        stuck.emplace_back(std::move(call), valid);
      }
      at = waited ? streams_.erase(at) : std::next(at);
    }
  }
  // Not with the lock: a call that ends takes it.
  for (const auto& [call, why] : ending) call->End(why);
  for (const auto& [call, why] : stuck) call->Cancel();
}

}  // namespace tiltshift::scheduler
