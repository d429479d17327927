#include "provenance/signer.h"

#include <openssl/pem.h>

#include "base/file.h"
#include "provenance/certificate.h"
#include "provenance/openssl.h"

namespace tiltshift::provenance {
namespace {

constexpr size_t kMostPemBytes = 1 << 20;
constexpr size_t kSignatureBytes = 64;

// A key behind a passphrase is refused instead of asked for on a terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

struct Signer::Key {
  OwnedKey key;
};

Signer::Signer(std::vector<std::string> chain, std::unique_ptr<Key> key)
    : chain_(std::move(chain)), key_(std::move(key)) {}
Signer::~Signer() = default;

absl::StatusOr<std::shared_ptr<const Signer>> Signer::Load(const std::string& certificate_file,
                                                           const std::string& key_file) {
  TS_ASSIGN_OR_RETURN(const std::string certificates, ReadFile(certificate_file, kMostPemBytes));
  TS_ASSIGN_OR_RETURN(const std::string key, ReadFile(key_file, kMostPemBytes));
  auto signer = FromPem(certificates, key);
  if (!signer.ok())
    return Annotate(signer.status(), absl::StrCat(certificate_file, " and ", key_file));
  return signer;
}

absl::StatusOr<std::shared_ptr<const Signer>> Signer::FromPem(std::string_view certificates,
                                                              std::string_view key) {
  TS_ASSIGN_OR_RETURN(std::vector<std::string> chain, CertificatesOf(certificates));
  TS_RETURN_IF_ERROR(CheckSigningProfile(chain[0]));
  while (chain.size() > 1 && IsSelfSigned(chain.back())) chain.pop_back();
  const OwnedBio bio = ReadingBio(key);
  OwnedKey parsed(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (parsed == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("no private key in PEM without a passphrase (", LastOpenSslError(), ")"));
  }
  if (EVP_PKEY_get_id(parsed.get()) != EVP_PKEY_ED25519) {
    return absl::InvalidArgumentError(
        "the key is not of Ed25519: openssl genpkey -algorithm ed25519 makes one. Signatures of "
        "other kinds differ each time, and pictures must not");
  }
  const unsigned char* at = Bytes(chain[0]);
  const OwnedX509 certificate(d2i_X509(nullptr, &at, static_cast<long>(chain[0].size())));
  if (X509_check_private_key(certificate.get(), parsed.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("the private key is not that of the first certificate");
  }
  auto owned = std::make_unique<Key>();
  owned->key = std::move(parsed);
  return std::shared_ptr<const Signer>(new Signer(std::move(chain), std::move(owned)));
}

absl::StatusOr<std::string> Signer::Sign(std::string_view message) const {
  const OwnedDigest digest(EVP_MD_CTX_new());
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  if (EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, key_->key.get()) != 1 ||
      EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Bytes(message), message.size()) != 1 ||
      size != kSignatureBytes)
    return absl::InternalError("signing failed: " + LastOpenSslError());
  return signature;
}

}  // namespace tiltshift::provenance
