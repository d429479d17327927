#include <grpcpp/grpcpp.h>

#include <chrono>

#include "moderation/moderator.h"
#include "proto/moderation.grpc.pb.h"

namespace tiltshift::moderation {
namespace {

class GrpcModerator : public Moderator {
 public:
  GrpcModerator(const std::string& address, std::shared_ptr<grpc::Channel> channel, int timeout_ms)
      : address_(address),
        timeout_ms_(timeout_ms),
        stub_(v1::Moderation::NewStub(std::move(channel))) {}

  absl::Status Review(const v1::ReviewRequest& request) override {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms_));
    v1::ReviewResponse response;
    const grpc::Status status = stub_->Review(&context, request, &response);
    if (!status.ok())
      return absl::UnavailableError(absl::StrCat(address_, ": ", status.error_message()));
    if (!response.veto()) return absl::OkStatus();
    return absl::PermissionDeniedError(response.reason().empty() ? "no reason given"
                                                                 : response.reason());
  }

 private:
  const std::string address_;
  const int timeout_ms_;
  const std::unique_ptr<v1::Moderation::Stub> stub_;
};

}  // namespace

std::unique_ptr<Moderator> MakeGrpcModerator(const std::string& address,
                                             std::shared_ptr<grpc::Channel> channel,
                                             int timeout_ms) {
  return std::make_unique<GrpcModerator>(address, std::move(channel), timeout_ms);
}

}  // namespace tiltshift::moderation
