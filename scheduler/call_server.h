// Typed methods over calls (call.h), and the server that takes them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "access/gate.h"
#include "monitoring/metrics.h"
#include "scheduler/call.h"

namespace tiltshift::scheduler {

// InvalidArgument where the bytes are no such message.
template <typename Message>
absl::StatusOr<Message> Parse(grpc::ByteBuffer& bytes) {
  Message message;
  if (!grpc::SerializationTraits<Message>::Deserialize(&bytes, &message).ok())
    return absl::InvalidArgumentError(
        absl::StrCat("the bytes of the message are no ", message.GetTypeName()));
  return message;
}

// W3C Trace Context's header of a call that has not started yet; a new trace where it brings none.
std::string TraceparentOf(const Call& call);

// A method that is asked once, and answers once: `reply` is called from any thread.
template <typename Response>
using Reply = std::function<void(absl::StatusOr<Response>)>;

class CallServer {
 public:
  CallServer() = default;
  ~CallServer();

  // Before Start. `seconds`: of each call, from its message to its answer.
  // `trace`, where given, has each message, and the traceparent that came with the call: the
  // caller's, or a new one.
  template <typename Request, typename Response>
  void Unary(const std::string& method, monitoring::Histogram seconds,
             std::function<void(const Request&, Reply<Response>)> answer,
             std::function<void(const std::string& traceparent, Request&)> trace = nullptr);
  // `open` is called for each call, and gets its one message by CallHandler::OnMessage.
  using Open = std::function<std::shared_ptr<CallHandler>(std::shared_ptr<Call>)>;
  void ServerStream(const std::string& method, Open open) {
    Add(method, {std::move(open), 1, /*stream=*/true});
  }
  // As many messages as the client sends.
  void BidiStream(const std::string& method, Open open) {
    Add(method, {std::move(open), SIZE_MAX, /*stream=*/true});
  }

  // Before Start: who lets calls in, and must outlive the server. Without, everybody may do
  // everything.
  void Guard(const access::Gate& gate) { gate_ = &gate; }
  // Before Start: where its thread runs.
  void RunOn(const Cpus& cpus) { cpus_ = cpus; }
  // Ends the streams of callers that are none any more, for the reason. To be called every now and
  // then, and after a token was revoked. Any thread.
  void EndStreams(const Clock& clock);

  // Of the methods there are: "tiltshift.v1.Farm".
  std::vector<std::string> Services() const;

  // Listens on "host:port" or "unix:PATH" and takes calls on a thread of its own. Every method that
  // the services' files declare must be there, with a rule of access/method_rules.h.
  absl::Status Start(const std::string& address,
                     const std::shared_ptr<grpc::ServerCredentials>& credentials =
                         grpc::InsecureServerCredentials());
  // After Start: to this server, from within its process.
  std::shared_ptr<grpc::Channel> InProcessChannel() { return server_->InProcessChannel({}); }
  // Calls that are open have a second to end; they are cancelled then.
  void Stop();

 private:
  struct Method {
    Open open;
    size_t messages;  // that it reads
    bool stream;
  };
  // A stream of a caller who may cease to be one.
  struct OpenStream {
    std::weak_ptr<Call> call;
    std::shared_ptr<const access::Caller> caller;
    int64_t ended_ms = 0;  // when it was told so
  };
  void Add(const std::string& method, Method how) { methods_[method] = std::move(how); }
  void TakeNext();
  void Begin(const std::shared_ptr<Call>& call);
  absl::StatusOr<std::shared_ptr<access::Admission>> LetIn(const std::shared_ptr<Call>& call,
                                                           bool stream);

  std::map<std::string, Method> methods_;
  const access::Gate* gate_ = nullptr;
  Cpus cpus_;
  std::mutex streams_mutex_;
  uint64_t last_stream_ = 0;
  std::map<uint64_t, OpenStream> streams_;
  grpc::AsyncGenericService service_;
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<grpc::Server> server_;
};

template <typename Request, typename Response>
class UnaryCall : public CallHandler {
 public:
  using Method = std::function<void(const Request&, Reply<Response>)>;
  using Trace = std::function<void(const std::string& traceparent, Request&)>;
  UnaryCall(std::shared_ptr<Call> call, const Method& method, monitoring::Histogram seconds,
            const Trace& trace)
      : call_(std::move(call)), method_(method), seconds_(seconds), trace_(trace) {
    if (trace_ != nullptr) traceparent_ = TraceparentOf(*call_);
  }

  absl::Status OnMessage(grpc::ByteBuffer& message) override {
    auto timer = std::make_shared<monitoring::Timer>(seconds_);
    TS_ASSIGN_OR_RETURN(Request request, Parse<Request>(message));
    if (trace_ != nullptr) trace_(traceparent_, request);
    TS_RETURN_IF_ERROR(call_->Admitted(request));
    method_(request, [call = call_, timer](const absl::StatusOr<Response>& response) {
      if (response.ok()) {
        call->FinishWith(*response);
      } else {
        call->Finish(response.status());
      }
    });
    return absl::OkStatus();
  }
  void OnLastMessage() override {
    call_->Finish(absl::InvalidArgumentError("the call brought no message"));
  }

 private:
  const std::shared_ptr<Call> call_;
  const Method& method_;
  const monitoring::Histogram seconds_;
  const Trace& trace_;
  std::string traceparent_;
};

template <typename Request, typename Response>
void CallServer::Unary(const std::string& method, monitoring::Histogram seconds,
                       std::function<void(const Request&, Reply<Response>)> answer,
                       std::function<void(const std::string& traceparent, Request&)> trace) {
  Add(method,
      {[answer = std::move(answer), seconds, trace = std::move(trace)](std::shared_ptr<Call> call) {
         return std::make_shared<UnaryCall<Request, Response>>(std::move(call), answer, seconds,
                                                               trace);
       },
       1, /*stream=*/false});
}

}  // namespace tiltshift::scheduler
