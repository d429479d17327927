// Photos in the blob store, sealed. Their bytes are others' to make (seal/).
//
// Layout:  photos/<id>/about      a v1::PhotoAbout; the first that is written
//          photos/<id>/key        its key, wrapped: where this is gone, the photo is
//          photos/<id>/sealed
//          photos/<id>/ending     a v1::PhotoEnding: it is being destroyed
//          receipts/<id>.json     a v1::Receipt: it was
//          bindings/<number>-<job id>   a v1::PhotoBinding: whose some photos are
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "proto/photo.pb.h"
#include "store/blob_store.h"

namespace tiltshift::store {

struct PhotoBytes {
  std::string_view wrapped_key, sealed;
};

// The photo's, in an order in which a crash leaves none without `about`. Those that are there stay.
absl::Status PutPhoto(BlobStore& blobs, const std::string& id, const v1::PhotoAbout& about,
                      const PhotoBytes& bytes);

absl::StatusOr<v1::PhotoAbout> GetPhotoAbout(BlobStore& blobs, const std::string& id);
absl::StatusOr<std::string> GetPhotoKey(BlobStore& blobs, const std::string& id);
absl::StatusOr<std::string> GetSealedPhoto(BlobStore& blobs, const std::string& id);

// In one write. False: there is one of that number and job.
absl::StatusOr<bool> PutBinding(BlobStore& blobs, const v1::PhotoBinding& binding);
// By rising number: a later one counts.
absl::StatusOr<std::vector<v1::PhotoBinding>> ListBindings(BlobStore& blobs);
absl::Status DeleteBinding(BlobStore& blobs, const v1::PhotoBinding& binding);

// The first ending counts; it is returned.
absl::StatusOr<v1::PhotoEnding> PutPhotoEnding(BlobStore& blobs, const std::string& id,
                                               const v1::PhotoEnding& ending);
absl::StatusOr<v1::PhotoEnding> GetPhotoEnding(BlobStore& blobs, const std::string& id);

// The key first, then the sealed photo; nothing opens it when this returns.
absl::Status DestroyPhoto(BlobStore& blobs, const std::string& id);
// What else there is of it, `about` last.
absl::Status DeletePhotoTraces(BlobStore& blobs, const std::string& id);

absl::Status PutReceipt(BlobStore& blobs, const std::string& id, const v1::Receipt& receipt);
// NotFound: it was not destroyed, or never was.
absl::StatusOr<v1::Receipt> GetReceipt(BlobStore& blobs, const std::string& id);

// What there is of each photo: "about", "key", ...
absl::StatusOr<std::map<std::string, std::set<std::string>>> ListPhotos(BlobStore& blobs);

}  // namespace tiltshift::store
