#include "store/photo_blobs.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace tiltshift::store {
namespace {

std::string Key(const std::string& id, const char* part) {
  return absl::StrCat("photos/", id, "/", part);
}

constexpr char kBindings[] = "bindings/";

// Sorts as the numbers do.
std::string KeyOf(const v1::PhotoBinding& binding) {
  return absl::StrFormat("%s%016d-%s", kBindings, binding.number(), binding.job_id());
}

std::string ReceiptKey(const std::string& id) { return absl::StrCat("receipts/", id, ".json"); }

template <typename Message>
absl::StatusOr<Message> Get(BlobStore& blobs, const std::string& key) {
  TS_ASSIGN_OR_RETURN(const std::string bytes, blobs.Get(key));
  Message message;
  if (message.ParseFromString(bytes)) return message;
  return absl::DataLossError(absl::StrCat(key, " is damaged"));
}

}  // namespace

absl::Status PutPhoto(BlobStore& blobs, const std::string& id, const v1::PhotoAbout& about,
                      const PhotoBytes& bytes) {
  TS_RETURN_IF_ERROR(blobs.PutIfAbsent(Key(id, "about"), about.SerializeAsString()).status());
  TS_RETURN_IF_ERROR(blobs.PutIfAbsent(Key(id, "key"), bytes.wrapped_key).status());
  return blobs.PutIfAbsent(Key(id, "sealed"), bytes.sealed).status();
}

absl::StatusOr<v1::PhotoAbout> GetPhotoAbout(BlobStore& blobs, const std::string& id) {
  return Get<v1::PhotoAbout>(blobs, Key(id, "about"));
}

absl::StatusOr<std::string> GetPhotoKey(BlobStore& blobs, const std::string& id) {
  return blobs.Get(Key(id, "key"));
}

absl::StatusOr<std::string> GetSealedPhoto(BlobStore& blobs, const std::string& id) {
  return blobs.Get(Key(id, "sealed"));
}

absl::StatusOr<bool> PutBinding(BlobStore& blobs, const v1::PhotoBinding& binding) {
  return blobs.PutIfAbsent(KeyOf(binding), binding.SerializeAsString());
}

absl::StatusOr<std::vector<v1::PhotoBinding>> ListBindings(BlobStore& blobs) {
  TS_ASSIGN_OR_RETURN(const auto keys, blobs.List(kBindings));
  std::vector<v1::PhotoBinding> bindings;
  for (const std::string& key : keys) {
    auto binding = Get<v1::PhotoBinding>(blobs, key);
    if (absl::IsNotFound(binding.status())) continue;
    if (!binding.ok()) return binding.status();
    bindings.push_back(*std::move(binding));
  }
  return bindings;
}

absl::Status DeleteBinding(BlobStore& blobs, const v1::PhotoBinding& binding) {
  return blobs.Delete(KeyOf(binding));
}

absl::StatusOr<v1::PhotoEnding> PutPhotoEnding(BlobStore& blobs, const std::string& id,
                                               const v1::PhotoEnding& ending) {
  TS_ASSIGN_OR_RETURN(const bool created,
                      blobs.PutIfAbsent(Key(id, "ending"), ending.SerializeAsString()));
  if (created) return ending;
  return GetPhotoEnding(blobs, id);
}

absl::StatusOr<v1::PhotoEnding> GetPhotoEnding(BlobStore& blobs, const std::string& id) {
  return Get<v1::PhotoEnding>(blobs, Key(id, "ending"));
}

absl::Status DestroyPhoto(BlobStore& blobs, const std::string& id) {
  TS_RETURN_IF_ERROR(blobs.Delete(Key(id, "key")));
  return blobs.Delete(Key(id, "sealed"));
}

absl::Status DeletePhotoTraces(BlobStore& blobs, const std::string& id) {
  for (const char* part : {"ending", "about"}) TS_RETURN_IF_ERROR(blobs.Delete(Key(id, part)));
  return absl::OkStatus();
}

absl::Status PutReceipt(BlobStore& blobs, const std::string& id, const v1::Receipt& receipt) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(receipt, &text, options).ok())
    return absl::InternalError(absl::StrCat("the receipt of ", id, " is no text"));
  return blobs.PutIfAbsent(ReceiptKey(id), text + "\n").status();
}

absl::StatusOr<v1::Receipt> GetReceipt(BlobStore& blobs, const std::string& id) {
  TS_ASSIGN_OR_RETURN(const std::string text, blobs.Get(ReceiptKey(id)));
  v1::Receipt receipt;
  if (google::protobuf::util::JsonStringToMessage(text, &receipt).ok()) return receipt;
  return absl::DataLossError(absl::StrCat(ReceiptKey(id), " is damaged"));
}

absl::StatusOr<std::map<std::string, std::set<std::string>>> ListPhotos(BlobStore& blobs) {
  TS_ASSIGN_OR_RETURN(const auto keys, blobs.List("photos/"));
  std::map<std::string, std::set<std::string>> photos;
  for (const std::string& key : keys) {
    const std::vector<std::string> parts = absl::StrSplit(key, '/');
    if (parts.size() == 3) photos[parts[1]].insert(parts[2]);
  }
  return photos;
}

}  // namespace tiltshift::store
