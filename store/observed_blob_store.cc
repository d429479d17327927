#include "store/observed_blob_store.h"

#include <chrono>
#include <type_traits>
#include <utility>

namespace tiltshift::store {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

class ObservedBlobStore : public BlobStore {
 public:
  ObservedBlobStore(std::unique_ptr<BlobStore> blobs, BlobObserver observer)
      : blobs_(std::move(blobs)), observer_(std::move(observer)) {}

  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    return Timed("put", [&] { return blobs_->PutIfAbsent(key, bytes); });
  }
  absl::StatusOr<std::string> Get(const std::string& key) override {
    return Timed("get", [&] { return blobs_->Get(key); });
  }
  absl::StatusOr<bool> Exists(const std::string& key) override {
    return Timed("exists", [&] { return blobs_->Exists(key); });
  }
  absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                    size_t most) override {
    return Timed("list", [&] { return blobs_->ListSome(prefix, most); });
  }
  absl::Status Delete(const std::string& key) override {
    return Timed("delete", [&] { return blobs_->Delete(key); });
  }
  void Interrupt() override { blobs_->Interrupt(); }

 private:
  template <typename Call>
  std::invoke_result_t<Call> Timed(std::string_view operation, Call call) {
    const auto start = Clock::now();
    auto result = call();
    observer_(operation, std::chrono::duration<double>(Clock::now() - start).count(),
              StatusOf(result));
    return result;
  }

  const std::unique_ptr<BlobStore> blobs_;
  const BlobObserver observer_;
};

}  // namespace

std::unique_ptr<BlobStore> Observed(std::unique_ptr<BlobStore> blobs, BlobObserver observer) {
  return std::make_unique<ObservedBlobStore>(std::move(blobs), std::move(observer));
}

}  // namespace tiltshift::store
