#include "seal/sealed_photo.h"

#include <sodium.h>

#include <algorithm>

#include "base/check.h"

namespace tiltshift::seal {
namespace {

constexpr std::string_view kMagic = "TSPHOTO1";
constexpr size_t kHeader = crypto_secretstream_xchacha20poly1305_HEADERBYTES;
constexpr size_t kChunk = 64 * 1024;
constexpr size_t kMore = crypto_secretstream_xchacha20poly1305_ABYTES;  // of a chunk, sealed

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

absl::Status Damaged() {
  return absl::DataLossError("a sealed photo is damaged, or was sealed with another key");
}

}  // namespace

Secret NewPhotoKey() { return Secret::Random(crypto_secretstream_xchacha20poly1305_KEYBYTES); }

std::string Seal(std::string_view photo, const Secret& key, std::string_view name) {
  TS_CHECK(key.size() == crypto_secretstream_xchacha20poly1305_KEYBYTES);
  const size_t chunks = std::max<size_t>(1, (photo.size() + kChunk - 1) / kChunk);
  std::string sealed(kMagic);
  sealed.resize(kMagic.size() + kHeader + photo.size() + chunks * kMore);
  crypto_secretstream_xchacha20poly1305_state state;
  crypto_secretstream_xchacha20poly1305_init_push(&state, Bytes(sealed) + kMagic.size(),
                                                  key.data());
  unsigned char* to = Bytes(sealed) + kMagic.size() + kHeader;
  for (size_t i = 0; i < chunks; ++i) {
    const std::string_view chunk = photo.substr(i * kChunk, kChunk);
    crypto_secretstream_xchacha20poly1305_push(
        &state, to, nullptr, Bytes(chunk), chunk.size(), Bytes(name), name.size(),
        i + 1 == chunks ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
    to += chunk.size() + kMore;
  }
  sodium_memzero(&state, sizeof(state));
  return sealed;
}

absl::StatusOr<Secret> Open(std::string_view sealed, const Secret& key, std::string_view name) {
  if (key.size() != crypto_secretstream_xchacha20poly1305_KEYBYTES ||
      sealed.size() < kMagic.size() + kHeader + kMore || !sealed.starts_with(kMagic))
    return Damaged();
  sealed.remove_prefix(kMagic.size());
  crypto_secretstream_xchacha20poly1305_state state;
  if (crypto_secretstream_xchacha20poly1305_init_pull(&state, Bytes(sealed), key.data()) != 0)
    return Damaged();
  sealed.remove_prefix(kHeader);
  Secret photo(sealed.size());
  size_t opened = 0;
  bool whole = false, good = true;
  while (good && !whole && !sealed.empty()) {
    const std::string_view chunk = sealed.substr(0, kChunk + kMore);
    unsigned long long bytes = 0;
    unsigned char tag = 0;
    good = chunk.size() >= kMore && crypto_secretstream_xchacha20poly1305_pull(
                                        &state, photo.data() + opened, &bytes, &tag, Bytes(chunk),
                                        chunk.size(), Bytes(name), name.size()) == 0;
    opened += bytes;
    whole = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    sealed.remove_prefix(chunk.size());
  }
  sodium_memzero(&state, sizeof(state));
  if (!good || !whole || !sealed.empty()) return Damaged();
  photo.Shorten(opened);
  return photo;
}

}  // namespace tiltshift::seal
