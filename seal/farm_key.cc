#include "seal/farm_key.h"

#include <sodium.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::seal {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kIdDigits = 16;
constexpr size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTag = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr char kContext[] = "tiltshft";  // crypto_kdf's, 8 characters
constexpr uint64_t kForId = 1, kForWrapping = 2, kForSigning = 3;
constexpr size_t kLongestText = 4096;

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Secret Derived(const Secret& key, uint64_t purpose) {
  Secret derived(kKeyBytes);
  crypto_kdf_derive_from_key(derived.data(), derived.size(), purpose, kContext, key.data());
  return derived;
}

std::string Hex(const unsigned char* bytes, size_t size) {
  std::string hex(2 * size + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), bytes, size);
  hex.resize(2 * size);
  return hex;
}

bool FromHex(std::string_view hex, unsigned char* bytes, size_t size) {
  size_t read = 0;
  return hex.size() == 2 * size &&
         sodium_hex2bin(bytes, size, hex.data(), hex.size(), nullptr, &read, nullptr) == 0 &&
         read == size;
}

absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
      (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the farm's key in ", path, " can be read by others: chmod 600 ", path));
  }
  return ReadFile(path, kLongestText);
}

absl::StatusOr<std::string> OutputOf(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) return ErrnoStatus(errno, "cannot run", command);
  std::string text(kLongestText, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), pipe));
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  Wipe(std::span(text));
  return absl::InvalidArgumentError(
      absl::StrCat("--farm-key: the command failed (", WEXITSTATUS(status), "): ", command));
}

}  // namespace

FarmKey::FarmKey(Secret key)
    : wrapping_(Derived(key, kForWrapping)), signing_(crypto_sign_SECRETKEYBYTES) {
  const Secret id = Derived(key, kForId), seed = Derived(key, kForSigning);
  id_ = Hex(id.data(), kIdDigits / 2);
  unsigned char point[crypto_sign_PUBLICKEYBYTES];
  crypto_sign_seed_keypair(point, signing_.data(), seed.data());
  public_ = Hex(point, sizeof(point));
}

std::string FarmKey::RandomHexKey() { return RandomHex(kKeyBytes); }

absl::StatusOr<FarmKey> FarmKey::OfHex(std::string_view hex, const std::string& what) {
  const size_t first = hex.find_first_not_of(" \t\r\n"), last = hex.find_last_not_of(" \t\r\n");
  hex = first == std::string_view::npos ? "" : hex.substr(first, last - first + 1);
  Secret key(kKeyBytes);
  if (!FromHex(hex, key.data(), key.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        what,
        ": the farm's key is 64 hex digits (`openssl rand -hex 32` makes one), and this is "
        "none"));
  }
  return FarmKey(std::move(key));
}

absl::StatusOr<FarmKey> FarmKey::Load(const std::string& where) {
  const size_t colon = where.find(':');
  const std::string kind = where.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : where.substr(colon + 1);
  const std::string what = absl::StrCat("--farm-key ", where);
  absl::StatusOr<std::string> text = absl::InvalidArgumentError(
      absl::StrCat(what, ": is neither file:PATH, env:NAME nor command:CMD"));
  if (!rest.empty() && kind == "file") text = ReadKeyFile(rest);
  if (!rest.empty() && kind == "command") text = OutputOf(rest);
  if (!rest.empty() && kind == "env") {
    const char* value = std::getenv(rest.c_str());
    if (value == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(what, ": there is no such variable"));
    text = value;
    unsetenv(rest.c_str());
  }
  if (!text.ok()) return text.status();
  auto key = OfHex(*text, what);
  Wipe(std::span(*text));
  return key;
}

std::string FarmKey::Wrap(const Secret& photo_key, std::string_view name) const {
  std::string wrapped = id_;
  wrapped.resize(kIdDigits + kNonce + photo_key.size() + kTag);
  unsigned char* nonce = Bytes(wrapped) + kIdDigits;
  randombytes_buf(nonce, kNonce);
  crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + kNonce, nullptr, photo_key.data(),
                                             photo_key.size(), Bytes(name), name.size(), nullptr,
                                             nonce, wrapping_.data());
  return wrapped;
}

absl::StatusOr<Secret> FarmKey::Unwrap(std::string_view wrapped, std::string_view name) const {
  const absl::Status damaged = absl::DataLossError("a photo's wrapped key is damaged");
  if (wrapped.size() < kIdDigits + kNonce + kTag) return damaged;
  const std::string by(wrapped.substr(0, kIdDigits));
  if (by.find_first_not_of("0123456789abcdef") != std::string_view::npos) return damaged;
  if (by != id_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the photo's key was wrapped by the farm key ", by, ", and this one is ", id_,
                     ": start the scheduler with that one"));
  }
  const std::string_view nonce = wrapped.substr(kIdDigits, kNonce);
  const std::string_view sealed = wrapped.substr(kIdDigits + kNonce);
  Secret key(sealed.size() - kTag);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(key.data(), nullptr, nullptr, Bytes(sealed),
                                                 sealed.size(), Bytes(name), name.size(),
                                                 Bytes(nonce), wrapping_.data()) != 0)
    return damaged;
  return key;
}

std::string FarmKey::Sign(std::string_view text) const {
  unsigned char signature[crypto_sign_BYTES];
  crypto_sign_detached(signature, nullptr, Bytes(text), text.size(), signing_.data());
  return Hex(signature, sizeof(signature));
}

bool IsSigned(std::string_view text, std::string_view signature, std::string_view public_key) {
  unsigned char by[crypto_sign_PUBLICKEYBYTES], bytes[crypto_sign_BYTES];
  return FromHex(public_key, by, sizeof(by)) && FromHex(signature, bytes, sizeof(bytes)) &&
         crypto_sign_verify_detached(bytes, Bytes(text), text.size(), by) == 0;
}

}  // namespace tiltshift::seal
