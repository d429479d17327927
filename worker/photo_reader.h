// The photos that variants are made from: asked for by lease, opened, decoded, and wiped. Plaintext
// is in this process' memory and its decoder's, and nowhere else (I6).
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "picture/image.h"
#include "picture/photo_process.h"
#include "proto/worker.pb.h"
#include "store/blob_store.h"
#include "worker/lease_queue.h"

namespace tiltshift::worker {

// Pixels that are overwritten when it goes.
class PhotoPixels {
 public:
  explicit PhotoPixels(picture::Image image) : image_(std::move(image)) {}
  PhotoPixels(PhotoPixels&&) = default;
  PhotoPixels& operator=(PhotoPixels&&) = default;
  ~PhotoPixels();
  const picture::Image& image() const { return image_; }

 private:
  picture::Image image_;
};

class PhotoReader {
 public:
  // Asks the scheduler for a photo's key: Session::OpenPhoto.
  using Ask =
      std::function<absl::StatusOr<v1::OpenPhotoResponse>(const v1::OpenPhotoRequest& request)>;

  PhotoReader(store::BlobStore& blobs, std::string worker_id, Ask ask)
      : blobs_(blobs), worker_id_(std::move(worker_id)), ask_(std::move(ask)) {}

  // NotFound: it was destroyed. FailedPrecondition: the lease is over. Unavailable: no scheduler
  // has answered for half a minute. InvalidArgument: it can't be decoded. Else the blob store's.
  // Any thread.
  absl::StatusOr<PhotoPixels> Read(const Work& work, const std::string& photo_id);

 private:
  absl::StatusOr<v1::OpenPhotoResponse> AskPatiently(const v1::OpenPhotoRequest& request) const;

  store::BlobStore& blobs_;
  const std::string worker_id_;
  const Ask ask_;
  const picture::PhotoProcess process_;
};

}  // namespace tiltshift::worker
