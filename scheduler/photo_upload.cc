#include "scheduler/photo_upload.h"

#include <cstring>
#include <vector>

#include "picture/photo.h"
#include "scheduler/call_server.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

// Overwrites what gRPC handed over, once it is parsed: its slices may share memory, not ranges of
// it, so these bytes are nobody else's.
class Wiped {
 public:
  explicit Wiped(const grpc::ByteBuffer& message) { message.Dump(&slices_).ok(); }
  ~Wiped() {
    for (const grpc::Slice& slice : slices_)
      seal::Wipe(std::span(const_cast<uint8_t*>(slice.begin()), slice.size()));
  }

 private:
  std::vector<grpc::Slice> slices_;
};

}  // namespace

absl::Status PhotoUpload::OnMessage(grpc::ByteBuffer& message) {
  const Wiped wiped(message);
  TS_ASSIGN_OR_RETURN(auto request, Parse<v1::UploadPhotoRequest>(message));
  if (request.has_start()) return Start(request.start());
  const absl::Status added = Add(request.data());
  seal::Wipe(std::span(*request.mutable_data()));
  return added;
}

absl::Status PhotoUpload::Start(const v1::PhotoStart& start) {
  TS_RETURN_IF_ERROR(loop_.Leading());
  TS_RETURN_IF_ERROR(vault_.TakesPhotos());
  if (reserved_ != 0) return absl::InvalidArgumentError("start: comes once, first");
  TS_RETURN_IF_ERROR(CheckId("start.request_id", start.request_id(), kLongestRequestId));
  TS_RETURN_IF_ERROR(CheckId("start.tenant", start.tenant()));
  if (start.bytes() == 0) return absl::InvalidArgumentError("start.bytes: the photo is empty");
  TS_RETURN_IF_ERROR(picture::CheckPhotoBytes(start.bytes()));
  const size_t bytes = start.bytes();
  if (uploading_ + bytes > kMostUploading) {
    return absl::ResourceExhaustedError(
        "too many photos are being uploaded at once; try again in a second");
  }
  uploading_ += bytes;
  reserved_ = bytes;
  photo_ = seal::Secret(bytes);
  start_ = start;
  if (start_.tenant().empty()) start_.set_tenant("default");
  return absl::OkStatus();
}

absl::Status PhotoUpload::Add(std::string_view data) {
  if (reserved_ == 0) return absl::InvalidArgumentError("start: must come first");
  if (data.size() > reserved_ - there_) {
    return absl::InvalidArgumentError(
        absl::StrCat("data: there are more bytes than the start's ", reserved_));
  }
  std::memcpy(photo_.data() + there_, data.data(), data.size());
  there_ += data.size();
  return absl::OkStatus();
}

void PhotoUpload::OnLastMessage() {
  if (reserved_ == 0 || there_ < reserved_) {
    return call_->Finish(absl::InvalidArgumentError(
        absl::StrCat("data: the photo breaks off after ", there_, " of ", reserved_, " bytes")));
  }
  threads_.Run([self = shared_from_this()] {
    const auto stored = self->vault_.Store(self->start_, self->photo_);
    self->photo_ = {};
    if (!stored.ok()) return self->call_->Finish(stored.status());
    self->call_->FinishWith(*stored);
  });
}

}  // namespace tiltshift::scheduler
