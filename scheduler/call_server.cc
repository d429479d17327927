#include "scheduler/call_server.h"

#include <google/protobuf/descriptor.h>

#include <chrono>
#include <set>

#include "base/check.h"
#include "proto/channel.h"

namespace tiltshift::scheduler {
namespace {

constexpr int kTaking = 16;  // calls that gRPC may have ready at once for the thread
constexpr auto kEndWithin = std::chrono::seconds(1);

std::string ServiceOf(const std::string& method) { return method.substr(1, method.rfind('/') - 1); }

}  // namespace

CallServer::~CallServer() { Stop(); }

void CallServer::Add(const std::string& method, Open open, size_t messages) {
  methods_[method] = {std::move(open), messages};
}

std::vector<std::string> CallServer::Services() const {
  std::set<std::string> names;
  for (const auto& [name, method] : methods_) names.insert(ServiceOf(name));
  return {names.begin(), names.end()};
}

absl::Status CallServer::Start(const std::string& address) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : Services()) {
    const auto* service = pool->FindServiceByName(name);
    TS_CHECK(service != nullptr);
    for (int i = 0; i < service->method_count(); ++i)
      TS_CHECK(methods_.count(absl::StrCat("/", name, "/", service->method(i)->name())) == 1);
  }
  grpc::ServerBuilder builder;
  AllowPings(builder);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);  // counts every message, for nobody
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&service_);
  poller_ = std::make_unique<Poller>(builder.AddCompletionQueue());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, "; is another scheduler there?"));
  }
  for (int i = 0; i < kTaking; ++i) TakeNext();
  poller_->Start();
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
  if (method == methods_.end())
    return call->Finish(absl::UnimplementedError(absl::StrCat(
        "there is no method ", call->method(), "; is the client of another version?")));
  call->Start(method->second.open(call), method->second.messages);
}

}  // namespace tiltshift::scheduler
