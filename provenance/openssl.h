// OpenSSL's objects owned, and its errors in words. For this room's own sources.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

namespace tiltshift::provenance {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using OwnedX509 = std::unique_ptr<X509, Free<X509_free>>;
using OwnedKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using OwnedDigest = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using OwnedBio = std::unique_ptr<BIO, Free<BIO_free_all>>;

inline const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

inline OwnedBio ReadingBio(std::string_view text) {
  return OwnedBio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

inline std::string ContentsOf(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : std::string();
}

// What went wrong last, in OpenSSL's words; forgets it and what led to it.
inline std::string LastOpenSslError() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == nullptr ? "no reason given" : reason;
}

}  // namespace tiltshift::provenance
