#include "provenance/certificate.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/hash.h"
#include "provenance/cose.h"
#include "provenance/openssl.h"

namespace tiltshift::provenance {
namespace {

using OwnedStore = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using OwnedContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;
using OwnedUsages = std::unique_ptr<EXTENDED_KEY_USAGE, Free<EXTENDED_KEY_USAGE_free>>;
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_pop_free(stack, X509_free); }
};
using OwnedStack = std::unique_ptr<STACK_OF(X509), FreeStack>;

constexpr char kForDocuments[] = "1.3.6.1.5.5.7.3.36", kForC2pa[] = "1.3.6.1.4.1.62558.2.1";

OwnedX509 Parse(const std::string& certificate) {
  const unsigned char* at = Bytes(certificate);
  OwnedX509 parsed(d2i_X509(nullptr, &at, static_cast<long>(certificate.size())));
  if (at != Bytes(certificate) + certificate.size()) parsed.reset();
  ERR_clear_error();
  return parsed;
}

std::string DerOf(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  std::string bytes(reinterpret_cast<char*>(der), size > 0 ? static_cast<size_t>(size) : 0);
  OPENSSL_free(der);
  return bytes;
}

absl::Status Unfit(const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("the certificate can't sign content credentials: ", why));
}

std::string OidOf(const ASN1_OBJECT* object) {
  char text[80] = "";
  OBJ_obj2txt(text, sizeof(text), object, /*no_name=*/1);
  return text;
}

absl::Status CheckUsages(X509* certificate) {
  const OwnedUsages usages(static_cast<EXTENDED_KEY_USAGE*>(
      X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
  bool fits = false;
  for (int i = 0; usages != nullptr && i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    const ASN1_OBJECT* usage = sk_ASN1_OBJECT_value(usages.get(), i);
    const int nid = OBJ_obj2nid(usage);
    if (nid == NID_anyExtendedKeyUsage) return Unfit("its extended key usage is for anything");
    const std::string oid = OidOf(usage);
    fits = fits || nid == NID_email_protect || oid == kForDocuments || oid == kForC2pa;
  }
  return fits
             ? absl::OkStatus()
             : Unfit("its extended key usage is neither emailProtection nor for documents or C2PA");
}

OwnedStack StackOf(const std::vector<std::string>& certificates) {
  OwnedStack stack(sk_X509_new_null());
  for (const std::string& certificate : certificates)
    if (OwnedX509 parsed = Parse(certificate))
      if (sk_X509_push(stack.get(), parsed.get()) > 0) parsed.release();
  return stack;
}

// COSE writes r and s one after the other, OpenSSL reads them in ASN.1. Empty: neither.
std::string DerOfEcdsa(std::string_view signature) {
  constexpr int kHalf = 32;
  if (signature.size() != 2 * kHalf) return "";
  const std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>> parsed(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(Bytes(signature), kHalf, nullptr);
  BIGNUM* s = BN_bin2bn(Bytes(signature) + kHalf, kHalf, nullptr);
  ECDSA_SIG_set0(parsed.get(), r, s);  // owns them now
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(parsed.get(), &der);
  std::string bytes(reinterpret_cast<char*>(der), size > 0 ? static_cast<size_t>(size) : 0);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CertificatesOf(std::string_view pem) {
  const OwnedBio bio = ReadingBio(pem);
  std::vector<std::string> certificates;
  for (;;) {
    const OwnedX509 certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    certificates.push_back(DerOf(certificate.get()));
  }
  const unsigned long error = ERR_peek_last_error();
  const bool at_end = ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  const std::string reason = LastOpenSslError();
  if (!at_end || certificates.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no certificates in PEM, \"-----BEGIN CERTIFICATE-----\" and on (", reason, ")"));
  }
  return certificates;
}

std::string NameOf(const std::string& certificate) {
  const OwnedX509 parsed = Parse(certificate);
  if (parsed == nullptr) return "nobody";
  const X509_NAME* subject = X509_get_subject_name(parsed.get());
  for (const int kind : {NID_commonName, NID_organizationName}) {
    const int at = X509_NAME_get_index_by_NID(subject, kind, -1);
    if (at < 0) continue;
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    std::string name(reinterpret_cast<char*>(text), size > 0 ? static_cast<size_t>(size) : 0);
    OPENSSL_free(text);
    if (!name.empty()) return name;
  }
  return "nobody";
}

std::string FingerprintOf(const std::string& certificate) { return Sha256Hex(certificate); }

bool IsSelfSigned(const std::string& certificate) {
  const OwnedX509 parsed = Parse(certificate);
  return parsed != nullptr && X509_self_signed(parsed.get(), /*verify_signature=*/0) == 1;
}

absl::Status CheckSigningProfile(const std::string& certificate) {
  const OwnedX509 parsed = Parse(certificate);
  if (parsed == nullptr) return Unfit("it can't be read");
  const uint32_t flags = X509_get_extension_flags(parsed.get());
  if ((flags & EXFLAG_INVALID) != 0) return Unfit("its extensions are damaged");
  if (X509_get_version(parsed.get()) != X509_VERSION_3) return Unfit("it is not of version 3");
  if ((flags & EXFLAG_CA) != 0) return Unfit("it is a CA's; it must be one that a CA has issued");
  const uint32_t usage = X509_get_key_usage(parsed.get());
  if (usage == UINT32_MAX || (usage & KU_DIGITAL_SIGNATURE) == 0)
    return Unfit("its key usage lacks digitalSignature");
  if ((usage & KU_KEY_CERT_SIGN) != 0) return Unfit("its key usage has keyCertSign, a CA's");
  if (X509_get0_authority_key_id(parsed.get()) == nullptr)
    return Unfit("it has no authority key identifier");
  return CheckUsages(parsed.get());
}

absl::Status CheckTrust(const std::vector<std::string>& chain,
                        const std::vector<std::string>& anchors) {
  const OwnedX509 leaf = chain.empty() ? nullptr : Parse(chain[0]);
  if (leaf == nullptr) return absl::PermissionDeniedError("its certificate can't be read");
  const OwnedStore store(X509_STORE_new());
  for (const std::string& anchor : anchors)
    if (const OwnedX509 parsed = Parse(anchor)) X509_STORE_add_cert(store.get(), parsed.get());
  const OwnedStack others = StackOf({chain.begin() + 1, chain.end()});
  const OwnedContext context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), others.get());
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN);
  const bool trusted = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (trusted) return absl::OkStatus();
  return absl::PermissionDeniedError(
      X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
}

int64_t AlgorithmOf(const std::string& certificate) {
  const OwnedX509 parsed = Parse(certificate);
  const EVP_PKEY* key = parsed == nullptr ? nullptr : X509_get0_pubkey(parsed.get());
  ERR_clear_error();
  if (key == nullptr) return 0;
  if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) return kEdDsa;
  char curve[40] = "";
  const bool is_p256 = EVP_PKEY_get_id(key) == EVP_PKEY_EC &&
                       EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve,
                                                      sizeof(curve), nullptr) == 1 &&
                       OBJ_txt2nid(curve) == NID_X9_62_prime256v1;
  return is_p256 ? kEs256 : 0;
}

absl::Status CheckSignature(const std::string& certificate, std::string_view message,
                            std::string_view signature) {
  const int64_t algorithm = AlgorithmOf(certificate);
  if (algorithm == 0)
    return absl::UnimplementedError(
        "its key is neither of Ed25519 nor of P-256, the kinds that can be checked here");
  const absl::Status wrong = absl::DataLossError("the signature is not that of the claim");
  const bool is_es256 = algorithm == kEs256;
  const std::string der = is_es256 ? DerOfEcdsa(signature) : std::string(signature);
  if (der.empty()) return wrong;
  const OwnedX509 parsed = Parse(certificate);
  const OwnedDigest digest(EVP_MD_CTX_new());
  const bool right =
      EVP_DigestVerifyInit(digest.get(), nullptr, is_es256 ? EVP_sha256() : nullptr, nullptr,
                           X509_get0_pubkey(parsed.get())) == 1 &&
      EVP_DigestVerify(digest.get(), Bytes(der), der.size(), Bytes(message), message.size()) == 1;
  ERR_clear_error();
  return right ? absl::OkStatus() : wrong;
}

}  // namespace tiltshift::provenance
