#include "gallery/farm_client.h"

#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace tiltshift::gallery {
namespace {

namespace json_util = google::protobuf::util;

constexpr size_t kMostPictureBytes = size_t{256} << 20;

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 503;
    default:
      return 500;
  }
}

}  // namespace

std::string JsonOf(const google::protobuf::Message& message) {
  json_util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)json_util::MessageToJsonString(message, &json, options);
  return json;
}

absl::Status FromJson(const std::string& json, google::protobuf::Message& message) {
  if (json_util::JsonStringToMessage(json, &message).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the body is no ", std::string(message.GetTypeName()), " in JSON"));
}

HttpResponse JsonResponse(std::string json) {
  HttpResponse response;
  response.headers = {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}};
  response.body = std::move(json);
  return response;
}

HttpResponse ErrorResponse(const absl::Status& status) {
  const nlohmann::json error = {{"error", Message(status)}};
  HttpResponse response =
      JsonResponse(error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  response.status = HttpStatusOf(status.code());
  return response;
}

FarmClient::FarmClient(std::shared_ptr<grpc::Channel> channel, std::string token, std::string peer)
    : farm_(v1::Farm::NewStub(channel)),
      tokens_(v1::Tokens::NewStub(channel)),
      token_(std::move(token)),
      peer_(std::move(peer)) {}

void FarmClient::Prepare(grpc::ClientContext& context, int ms) const {
  if (!token_.empty()) context.AddMetadata("authorization", "Bearer " + token_);
  context.AddMetadata("x-gallery-visitor", peer_);
  if (ms != 0)
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(ms));
}

absl::StatusOr<FarmClient::Picture> FarmClient::ReadPicture(const std::string& job_id,
                                                            uint64_t index, uint32_t side) {
  grpc::ClientContext context;
  Prepare(context, kPatienceMs);
  v1::ReadPictureRequest request;
  request.set_job_id(job_id);
  request.set_index(index);
  request.set_longest_side(side);
  const auto reader = farm_->ReadPicture(&context, request);
  Picture picture;
  v1::PicturePiece piece;
  while (reader->Read(&piece)) {
    if (piece.has_head()) picture.head = piece.head();
    picture.bytes += piece.data();
    if (picture.bytes.size() > kMostPictureBytes) context.TryCancel();
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return StatusOf(status);
  return picture;
}

absl::StatusOr<v1::OutputInfo> FarmClient::ReadInfo(const std::string& job_id, uint64_t index) {
  grpc::ClientContext context;
  Prepare(context, kPatienceMs);
  v1::ReadOutputsRequest request;
  request.set_job_id(job_id);
  request.mutable_range()->set_first(index);
  request.mutable_range()->set_count(1);
  request.set_info_only(true);
  const auto reader = farm_->ReadOutputs(&context, request);
  v1::OutputPiece piece, info;
  while (reader->Read(&piece))
    if (piece.has_info()) info = piece;
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return StatusOf(status);
  if (info.has_info()) return info.info();
  return absl::NotFoundError(absl::StrCat("variant ", index, " is not rendered yet"));
}

absl::Status FarmClient::WatchJob(const std::string& job_id,
                                  const std::function<bool(const v1::Job&)>& see) {
  grpc::ClientContext context;
  Prepare(context, 0);
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  const auto reader = farm_->WatchJob(&context, request);
  v1::Job job;
  bool stopped = false;
  while (!stopped && reader->Read(&job)) stopped = !see(job);
  if (stopped) context.TryCancel();
  const grpc::Status status = reader->Finish();
  return stopped ? absl::OkStatus() : StatusOf(status);
}

}  // namespace tiltshift::gallery
