#include "provenance/own_certificate.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/file.h"
#include "base/hash.h"
#include "provenance/openssl.h"

namespace tiltshift::provenance {
namespace {

constexpr long kValidSeconds = 20L * 365 * 24 * 3600;
constexpr size_t kSerialBytes = 16;

struct Made {
  OwnedKey key;
  OwnedX509 certificate;
};

absl::Status Failed() {
  return absl::InternalError("cannot make a certificate: " + LastOpenSslError());
}

bool AddExtension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool Name(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, Bytes(value),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

bool SetSerial(X509* certificate) {
  std::string serial = RandomHex(kSerialBytes);
  serial[0] = '4';  // positive, and as long as the others
  BIGNUM* number = nullptr;
  const bool set = BN_hex2bn(&number, serial.c_str()) > 0 &&
                   BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

// Signed by `issuer`, or by itself: a CA.
absl::StatusOr<Made> Make(const std::string& name, const Made* issuer) {
  Made made{OwnedKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")), OwnedX509(X509_new())};
  X509* certificate = made.certificate.get();
  if (made.key == nullptr || certificate == nullptr) return Failed();
  X509* issued_by = issuer == nullptr ? certificate : issuer->certificate.get();
  X509_NAME* subject = X509_get_subject_name(certificate);
  bool well = X509_set_version(certificate, X509_VERSION_3) == 1 && SetSerial(certificate) &&
              Name(subject, "O", "Tiltshift") && Name(subject, "CN", name) &&
              X509_set_issuer_name(certificate, X509_get_subject_name(issued_by)) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != nullptr &&
              X509_gmtime_adj(X509_getm_notAfter(certificate), kValidSeconds) != nullptr &&
              X509_set_pubkey(certificate, made.key.get()) == 1 &&
              AddExtension(certificate, issued_by, NID_subject_key_identifier, "hash");
  const auto add = [&](int kind, const char* value) {
    well = well && AddExtension(certificate, issued_by, kind, value);
  };
  if (issuer == nullptr) {
    add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add(NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    add(NID_basic_constraints, "critical,CA:FALSE");
    add(NID_key_usage, "critical,digitalSignature");
    add(NID_ext_key_usage, "emailProtection");
  }
  add(NID_authority_key_identifier, "keyid");
  EVP_PKEY* signing = issuer == nullptr ? made.key.get() : issuer->key.get();
  if (!well || X509_sign(certificate, signing, nullptr) == 0) return Failed();
  return made;
}

std::string PemOf(X509* certificate) {
  const OwnedBio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return ContentsOf(bio.get());
}

std::string PemOf(EVP_PKEY* key) {
  const OwnedBio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return ContentsOf(bio.get());
}

// Held, alone, while it lives.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::string& folder) {
    const std::string path = folder + "/lock";
    FolderLock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.fd_ < 0 || flock(lock.fd_, LOCK_EX) != 0)
      return ErrnoStatus(errno, "cannot lock", path);
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace

absl::StatusOr<std::string> OwnCertificateFolder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::string(state) + "/tiltshift/certificate";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/')
    return std::string(home) + "/.local/state/tiltshift/certificate";
  return absl::FailedPreconditionError(
      "there is no folder for the farm's certificate: neither XDG_STATE_HOME nor HOME is set; set "
      "one, or name a certificate with --signing-cert and --signing-key");
}

absl::StatusOr<OwnCertificate> MakeOwnCertificate(const std::string& folder) {
  const OwnCertificate files{folder + "/signer.pem", folder + "/ca.pem"};
  TS_RETURN_IF_ERROR(MakeFolders(folder));
  TS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(folder));
  if (access(files.signer_file.c_str(), F_OK) == 0) return files;
  if (chmod(folder.c_str(), 0700) != 0) return ErrnoStatus(errno, "cannot close", folder);
  const std::string name = RandomHex(4);
  TS_ASSIGN_OR_RETURN(const Made ca, Make(absl::StrCat("Tiltshift farm ", name, " CA"), nullptr));
  TS_ASSIGN_OR_RETURN(const Made signer, Make(absl::StrCat("Tiltshift farm ", name), &ca));
  std::string anchors;
  if (access(files.ca_file.c_str(), F_OK) == 0) {
    TS_ASSIGN_OR_RETURN(anchors, ReadFile(files.ca_file));
  }
  // The CA first: a signer without one would never be trusted.
  TS_RETURN_IF_ERROR(
      WriteFileAtomic(files.ca_file, anchors + PemOf(ca.certificate.get()), IfPresent::kReplace)
          .status());
  TS_RETURN_IF_ERROR(WriteFileAtomic(files.signer_file,
                                     PemOf(signer.key.get()) + PemOf(signer.certificate.get()),
                                     IfPresent::kReplace, 0600)
                         .status());
  return files;
}

}  // namespace tiltshift::provenance
