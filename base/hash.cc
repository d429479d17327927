#include "base/hash.h"

#include <sodium.h>

#include <algorithm>
#include <vector>

#include "base/sha256_blocks.h"

namespace tiltshift {
namespace {

constexpr size_t kFewLanes = 9;  // that take less time one after the other

}  // namespace

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

// Whole blocks of up to sixteen side by side, as many as the shortest has, until few are left.
void Sha256::UpdateEach(std::span<Sha256> hashes, std::span<const std::string_view> bytes) {
  std::vector<std::string_view> rests(bytes.begin(), bytes.end());
  std::vector<size_t> lanes;
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (HasSha256Lanes() && hashes[i].state_->sha.count / 8 % kSha256Block == 0) lanes.push_back(i);
  }
  for (;;) {
    std::erase_if(lanes, [&](size_t i) { return rests[i].size() < kSha256Block; });
    if (lanes.size() < kFewLanes) break;
    const size_t used = std::min(lanes.size(), kSha256Lanes);
    size_t blocks = rests[lanes[0]].size() / kSha256Block;
    const char* places[kSha256Lanes];
    uint32_t state[8][kSha256Lanes];
    for (size_t lane = 0; lane < kSha256Lanes; ++lane) {
      const size_t i = lanes[std::min(lane, used - 1)];  // the last also in lanes that have none
      blocks = std::min(blocks, rests[i].size() / kSha256Block);
      places[lane] = rests[i].data();
      for (size_t word = 0; word < 8; ++word) state[word][lane] = hashes[i].state_->sha.state[word];
    }
    Sha256LaneBlocks(places, blocks, state);
    for (size_t lane = 0; lane < used; ++lane) {
      crypto_hash_sha256_state& sha = hashes[lanes[lane]].state_->sha;
      for (size_t word = 0; word < 8; ++word) sha.state[word] = state[word][lane];
      sha.count += blocks * kSha256Block * 8;
      rests[lanes[lane]].remove_prefix(blocks * kSha256Block);
    }
  }
  for (size_t i = 0; i < hashes.size(); ++i) hashes[i].Update(rests[i]);
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
