#include "base/hash.h"

#include <sodium.h>

#include <algorithm>

#include "base/sha256_blocks.h"

namespace tiltshift {

struct Sha256::State {
  crypto_hash_sha256_state sha;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { crypto_hash_sha256_init(&state_->sha); }
Sha256::~Sha256() = default;

void Sha256::Update(std::string_view bytes) {
  const auto update = [&](std::string_view part) {
    crypto_hash_sha256_update(&state_->sha, reinterpret_cast<const unsigned char*>(part.data()),
                              part.size());
  };
  if (HasSha256Blocks()) {  // libsodium's own does a fifth of the processor's
    const size_t begun = state_->sha.count / 8 % kSha256Block;
    const size_t rest = begun == 0 ? 0 : std::min(bytes.size(), kSha256Block - begun);
    update(bytes.substr(0, rest));
    bytes.remove_prefix(rest);
    const size_t blocks = bytes.size() / kSha256Block;
    Sha256Blocks(bytes.data(), blocks, state_->sha.state);
    state_->sha.count += blocks * kSha256Block * 8;
    bytes.remove_prefix(blocks * kSha256Block);
  }
  update(bytes);
}

std::string Sha256::Hex() {
  unsigned char digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256_final(&state_->sha, digest);
  char hex[2 * sizeof(digest) + 1];
  sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
  return hex;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Hex();
}

std::string RandomHex(size_t bytes) {
  std::string random(bytes, '\0'), hex(2 * bytes + 1, '\0');
  randombytes_buf(random.data(), bytes);
  sodium_bin2hex(hex.data(), hex.size(), reinterpret_cast<const unsigned char*>(random.data()),
                 bytes);
  hex.resize(2 * bytes);
  return hex;
}

bool SameSecret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace tiltshift
