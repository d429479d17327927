#include "seal/secret.h"

#include <sodium.h>

#include <cstring>

#include "base/check.h"

namespace tiltshift::seal {

Secret::Secret(size_t size) : size_(size) {
  TS_CHECK(sodium_init() >= 0);
  data_ = static_cast<uint8_t*>(sodium_malloc(size));
  TS_CHECK(data_ != nullptr);
  std::memset(data_, 0, size);
}

Secret Secret::Of(std::string_view bytes) {
  Secret secret(bytes.size());
  std::memcpy(secret.data(), bytes.data(), bytes.size());
  return secret;
}

Secret Secret::Random(size_t size) {
  Secret secret(size);
  randombytes_buf(secret.data(), size);
  return secret;
}

Secret::~Secret() { sodium_free(data_); }

void Wipe(std::span<uint8_t> bytes) { sodium_memzero(bytes.data(), bytes.size()); }
void Wipe(std::span<char> bytes) { sodium_memzero(bytes.data(), bytes.size()); }

}  // namespace tiltshift::seal
