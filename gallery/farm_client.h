// The farm's public services, called as a visitor: whatever the visitor's token may not do, the
// farm refuses here as it would anywhere else.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "gallery/http_message.h"
#include "proto/farm.grpc.pb.h"
#include "proto/status.h"
#include "proto/tokens.grpc.pb.h"

namespace tiltshift::gallery {

// With the farm's names and every field that has no presence of its own; 64-bit numbers are texts.
std::string JsonOf(const google::protobuf::Message& message);
// InvalidArgument: it is no such message.
absl::Status FromJson(const std::string& json, google::protobuf::Message& message);
// {"error": "..."} with the status that fits.
HttpResponse ErrorResponse(const absl::Status& status);
HttpResponse JsonResponse(std::string json);

class FarmClient {
 public:
  FarmClient(std::shared_ptr<grpc::Channel> channel, std::string token, std::string peer);

  // One message there, one back: Call(&v1::Farm::Stub::GetJob, request).
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Service::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    Prepare(context, kPatienceMs);
    Response response;
    const grpc::Status status = (StubOf<Service>().*method)(&context, request, &response);
    if (!status.ok()) return StatusOf(status);
    return response;
  }

  // The picture, and what kind it is.
  struct Picture {
    v1::PictureHead head;
    std::string bytes;
  };
  absl::StatusOr<Picture> ReadPicture(const std::string& job_id, uint64_t index, uint32_t side);
  // What the manifest says of one variant; NotFound where it is not there.
  absl::StatusOr<v1::OutputInfo> ReadInfo(const std::string& job_id, uint64_t index);
  // Until `see` is false, or the job has ended, which is OK.
  absl::Status WatchJob(const std::string& job_id, const std::function<bool(const v1::Job&)>& see);

 private:
  static constexpr int kPatienceMs = 30'000;
  template <typename Service>
  Service& StubOf() {
    if constexpr (std::is_same_v<Service, v1::Tokens::Stub>)
      return *tokens_;
    else
      return *farm_;
  }
  // Without a deadline where `ms` is 0.
  void Prepare(grpc::ClientContext& context, int ms) const;

  const std::unique_ptr<v1::Farm::Stub> farm_;
  const std::unique_ptr<v1::Tokens::Stub> tokens_;
  const std::string token_, peer_;
};

}  // namespace tiltshift::gallery
