#include "provenance/testing/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstring>

#include "base/check.h"
#include "provenance/openssl.h"

namespace tiltshift::provenance {
namespace {

void Add(X509* certificate, X509* issuer, int kind, const char* value) {
  if (*value == '\0') return;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  TS_CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

OwnedX509 Blank(const char* name, EVP_PKEY* key, long valid_seconds) {
  OwnedX509 certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 7);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             Bytes(name), -1, -1, 0);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()),
                  valid_seconds < 0 ? valid_seconds * 2 : 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_seconds);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

std::string Pem(X509* certificate, EVP_PKEY* key) {
  const OwnedBio bio(BIO_new(BIO_s_mem()));
  if (certificate != nullptr) PEM_write_bio_X509(bio.get(), certificate);
  if (key != nullptr)
    PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return ContentsOf(bio.get());
}

}  // namespace

TestCa MakeTestCa() {
  const OwnedKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const OwnedX509 ca = Blank("test CA", key.get(), 3600);
  X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get()));
  Add(ca.get(), ca.get(), NID_subject_key_identifier, "hash");
  Add(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE");
  Add(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign");
  TS_CHECK(X509_sign(ca.get(), key.get(), nullptr) > 0);
  return {Pem(ca.get(), nullptr), Pem(nullptr, key.get())};
}

TestSigner MakeTestSigner(const TestCa& ca, const LeafKind& kind) {
  const OwnedBio ca_bio = ReadingBio(ca.certificate), key_bio = ReadingBio(ca.key);
  const OwnedX509 issuer(PEM_read_bio_X509(ca_bio.get(), nullptr, nullptr, nullptr));
  const OwnedKey issuer_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  const OwnedKey key(std::strcmp(kind.key, "ED25519") == 0
                         ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                         : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", kind.key));
  const OwnedX509 leaf = Blank("test signer", key.get(), kind.valid_seconds);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer.get()));
  Add(leaf.get(), issuer.get(), NID_authority_key_identifier, "keyid");
  Add(leaf.get(), issuer.get(), NID_basic_constraints, kind.basic_constraints);
  Add(leaf.get(), issuer.get(), NID_key_usage, kind.key_usage);
  Add(leaf.get(), issuer.get(), NID_ext_key_usage, kind.extended_key_usage);
  TS_CHECK(X509_sign(leaf.get(), issuer_key.get(), nullptr) > 0);
  return {Pem(leaf.get(), nullptr), Pem(nullptr, key.get())};
}

}  // namespace tiltshift::provenance
