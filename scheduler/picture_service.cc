#include "scheduler/picture_service.h"

#include "picture/smaller.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kPieceBytes = 1 << 20;  // below gRPC's limit of 4 MB a message
constexpr uint32_t kShortestSide = 32, kLongestSide = 1'024;

}  // namespace

class PictureService::ReadPictureCall : public CallHandler,
                                        public std::enable_shared_from_this<ReadPictureCall> {
 public:
  ReadPictureCall(PictureService& service, std::shared_ptr<Call> call)
      : timer_(service.metrics_.read_picture_seconds), service_(service), call_(std::move(call)) {}

  absl::Status OnMessage(grpc::ByteBuffer& message) override {
    TS_ASSIGN_OR_RETURN(request_, Parse<v1::ReadPictureRequest>(message));
    service_.threads_.Run([self = shared_from_this()] { self->Answer(); });
    return absl::OkStatus();
  }

 private:
  void Answer() {
    const auto picture = service_.Read(request_);
    if (!picture.ok()) return call_->Finish(picture.status());
    v1::PicturePiece piece;
    *piece.mutable_head() = (*picture)->head;
    call_->Write(piece);
    const std::string& bytes = (*picture)->bytes;
    for (size_t sent = 0; sent < bytes.size(); sent += kPieceBytes) {
      piece.set_data(bytes.substr(sent, kPieceBytes));
      call_->Write(piece);
    }
    call_->Finish(absl::OkStatus());
  }

  const monitoring::Timer timer_;
  PictureService& service_;
  const std::shared_ptr<Call> call_;
  v1::ReadPictureRequest request_;
};

void PictureService::AddTo(CallServer& server) {
  const std::string farm = "/tiltshift.v1.Farm/";
  server.Unary<v1::ListVariantsRequest, v1::ListVariantsResponse>(
      farm + "ListVariants", metrics_.list_variants_seconds,
      [this](const auto& request, auto reply) {
        const auto job = loop_.FindJob(request.job_id());
        if (!job.ok()) return reply(job.status());
        threads_.Run([this, request, reply, job = *job] { reply(variants_.List(*job, request)); });
      });
  server.ServerStream(farm + "ReadPicture", [this](std::shared_ptr<Call> call) {
    return std::make_shared<ReadPictureCall>(*this, std::move(call));
  });
}

absl::StatusOr<std::shared_ptr<const PictureService::Picture>> PictureService::Read(
    const v1::ReadPictureRequest& request) {
  const uint32_t side = request.longest_side();
  if (side != 0 && (side < kShortestSide || side > kLongestSide)) {
    return absl::InvalidArgumentError(
        absl::StrCat("longest_side: ", side, " is not from ", kShortestSide, " to ", kLongestSide));
  }
  TS_ASSIGN_OR_RETURN(const JobView job, loop_.FindJob(request.job_id()));
  const std::string key = absl::StrCat(job->id(), " ", request.index(), " ", side);
  if (auto kept = side == 0 ? nullptr : small_.Find(key)) return kept;
  TS_ASSIGN_OR_RETURN(const plan::Variant variant, variants_.At(*job, request.index()));
  auto stored = blobs_.Get(absl::StrCat("jobs/", job->id(), "/outputs/", variant.output_name));
  if (absl::IsNotFound(stored.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("variant ", request.index(), " of job ", job->id(), " has no picture yet"));
  }
  TS_RETURN_IF_ERROR(stored.status());
  auto picture = std::make_shared<Picture>();
  picture->head.set_name(variant.output_name);
  picture->head.set_media_type(side == 0 ? "image/png" : "image/jpeg");
  picture->bytes = *std::move(stored);
  if (side != 0) {
    TS_ASSIGN_OR_RETURN(picture->bytes,
                        picture::SmallerJpeg(picture->bytes, static_cast<int>(side)));
  }
  picture->head.set_bytes(picture->bytes.size());
  if (side != 0) small_.Keep(key, picture, picture->bytes.size() + key.size());
  return std::shared_ptr<const Picture>(std::move(picture));
}

}  // namespace tiltshift::scheduler
