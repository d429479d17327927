#include "scheduler/standard_services.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <set>

#include "proto/reflection.pb.h"

namespace tiltshift::scheduler {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

void AddFile(const FileDescriptor& file, std::set<std::string>& added,
             grpc::reflection::v1alpha::FileDescriptorResponse& response) {
  if (!added.insert(file.name()).second) return;
  google::protobuf::FileDescriptorProto declared;
  file.CopyTo(&declared);
  response.add_file_descriptor_proto(declared.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
}

class ReflectionCall : public CallHandler {
 public:
  ReflectionCall(std::shared_ptr<Call> call, const CallServer& server)
      : call_(std::move(call)), server_(server) {}

  absl::Status OnMessage(grpc::ByteBuffer& message) override {
    TS_ASSIGN_OR_RETURN(const auto request, Parse<ServerReflectionRequest>(message));
    ServerReflectionResponse response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    Answer(request, response);
    call_->Write(response);
    return absl::OkStatus();
  }
  void OnLastMessage() override { call_->Finish(absl::OkStatus()); }

 private:
  void Answer(const ServerReflectionRequest& request, ServerReflectionResponse& response) const {
    const DescriptorPool& pool = *DescriptorPool::generated_pool();
    const FileDescriptor* file = nullptr;
    switch (request.message_request_case()) {
      case ServerReflectionRequest::kListServices:
        for (const std::string& name : server_.Services())
          response.mutable_list_services_response()->add_service()->set_name(name);
        return;
      case ServerReflectionRequest::kFileByFilename:
        file = pool.FindFileByName(request.file_by_filename());
        break;
      case ServerReflectionRequest::kFileContainingSymbol:
        file = pool.FindFileContainingSymbol(request.file_containing_symbol());
        break;
      default:  // extensions: proto3 has none
        break;
    }
    if (file == nullptr) {
      response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
      response.mutable_error_response()->set_error_message("this server has no such declaration");
      return;
    }
    std::set<std::string> added;
    AddFile(*file, added, *response.mutable_file_descriptor_response());
  }

  const std::shared_ptr<Call> call_;
  const CallServer& server_;
};

}  // namespace

// Told at once, and at every change. A service that is not here may come, says the protocol.
class Health::WatchCall : public CallHandler {
 public:
  WatchCall(Health& health, std::shared_ptr<Call> call) : health_(health), call_(std::move(call)) {}

  absl::Status OnMessage(grpc::ByteBuffer& message) override {
    TS_ASSIGN_OR_RETURN(const auto request, Parse<HealthCheckRequest>(message));
    std::lock_guard lock(health_.mutex_);
    const HealthCheckResponse response = health_.Of(request.service());
    call_->Write(response);
    if (response.status() != HealthCheckResponse::SERVICE_UNKNOWN)
      health_.watchers_.push_back(call_);
    return absl::OkStatus();
  }
  void OnOver() override {
    std::lock_guard lock(health_.mutex_);
    health_.watchers_.remove(call_);
  }

 private:
  Health& health_;
  const std::shared_ptr<Call> call_;
};

Health::Health(CallServer& server) : services_(server.Services()) {
  services_.push_back("");
  server.Unary<HealthCheckRequest, HealthCheckResponse>(
      "/grpc.health.v1.Health/Check", {},
      [this](const HealthCheckRequest& request, const Reply<HealthCheckResponse>& reply) {
        std::lock_guard lock(mutex_);
        const HealthCheckResponse response = Of(request.service());
        if (response.status() == HealthCheckResponse::SERVICE_UNKNOWN)
          return reply(absl::NotFoundError("there is no such service here"));
        reply(response);
      });
  server.ServerStream("/grpc.health.v1.Health/Watch", [this](std::shared_ptr<Call> call) {
    return std::make_shared<WatchCall>(*this, std::move(call));
  });
}

void Health::SetServing(bool serving) {
  std::lock_guard lock(mutex_);
  if (std::exchange(serving_, serving) == serving) return;
  for (const auto& watcher : watchers_) watcher->Write(Of(""));
}

HealthCheckResponse Health::Of(const std::string& service) const {
  HealthCheckResponse response;
  if (std::find(services_.begin(), services_.end(), service) == services_.end()) {
    response.set_status(HealthCheckResponse::SERVICE_UNKNOWN);
  } else {
    response.set_status(serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING);
  }
  return response;
}

void AddReflection(CallServer& server) {
  server.BidiStream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                    [&server](std::shared_ptr<Call> call) {
                      return std::make_shared<ReflectionCall>(std::move(call), server);
                    });
}

}  // namespace tiltshift::scheduler
