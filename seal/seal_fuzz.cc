// Any bytes as a sealed photo and as a wrapped key: an error, never a crash. What begins with the
// bytes that were sealed just before, and is longer, does not open either.
#include <cstdint>
#include <cstdlib>

#include "seal/farm_key.h"
#include "seal/sealed_photo.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tiltshift::seal;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const Secret key = Secret::Of(std::string(32, 'k'));
  static const FarmKey farm = *FarmKey::OfHex(std::string(64, '7'), "fuzz");
  if (Open(bytes, key, "p").ok()) std::abort();
  if (farm.Unwrap(bytes, "p").ok()) std::abort();
  if (IsSigned("text", bytes, farm.public_key())) std::abort();
  const std::string sealed = Seal(bytes, key, "p");
  if (Open(sealed, key, "p")->view() != bytes) std::abort();
  if (size > 0 && Open(sealed + std::string(bytes), key, "p").ok()) std::abort();
  return 0;
}
