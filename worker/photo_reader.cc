#include "worker/photo_reader.h"

#include <chrono>
#include <thread>

#include "seal/sealed_photo.h"
#include "store/photo_blobs.h"

namespace tiltshift::worker {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);
constexpr auto kAgain = std::chrono::milliseconds(200);

}  // namespace

PhotoPixels::~PhotoPixels() { seal::Wipe(std::span(image_.rgb)); }

absl::StatusOr<v1::OpenPhotoResponse> PhotoReader::AskPatiently(
    const v1::OpenPhotoRequest& request) const {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto answer = ask_(request);
    if (!absl::IsUnavailable(answer.status()) || std::chrono::steady_clock::now() > until)
      return answer;
    std::this_thread::sleep_for(kAgain);
  }
}

absl::StatusOr<PhotoPixels> PhotoReader::Read(const Work& work, const std::string& photo_id) {
  v1::OpenPhotoRequest request;
  request.set_worker_id(worker_id_);
  request.set_token(work.token);
  request.set_job_id(work.job_id);
  request.set_photo_id(photo_id);
  TS_ASSIGN_OR_RETURN(v1::OpenPhotoResponse answer, AskPatiently(request));
  const seal::Secret key = seal::Secret::Of(answer.key());
  seal::Wipe(std::span(*answer.mutable_key()));
  const auto sealed = store::GetSealedPhoto(blobs_, photo_id);
  if (absl::IsNotFound(sealed.status()))
    return absl::NotFoundError(absl::StrCat("photo ", photo_id, " was destroyed"));
  if (!sealed.ok()) return sealed.status();
  TS_ASSIGN_OR_RETURN(const seal::Secret photo, seal::Open(*sealed, key, photo_id));
  TS_ASSIGN_OR_RETURN(picture::Image image, process_.Decode(photo.view()));
  return PhotoPixels(std::move(image));
}

}  // namespace tiltshift::worker
