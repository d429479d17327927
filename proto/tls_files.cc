#include "proto/tls_files.h"

#if __has_include(<grpcpp/security/tls_certificate_provider.h>)
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#endif

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift {
namespace {

constexpr size_t kLargestPem = 16'000'000;

absl::StatusOr<std::string> ReadPem(const std::string& path, const char* kind) {
  TS_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kLargestPem));
  if (absl::StrContains(pem, absl::StrCat(kind, "-----"))) return pem;
  return absl::InvalidArgumentError(
      absl::StrCat(path, " holds no ", kind, " in PEM, \"-----BEGIN ...", kind, "-----\""));
}

struct Pems {
  std::string ca, cert, key;
};

// Of what is named; what is not stays empty.
absl::StatusOr<Pems> ReadAll(const TlsFiles& files) {
  Pems pems;
  if (!files.ca.empty()) {
    TS_ASSIGN_OR_RETURN(pems.ca, ReadPem(files.ca, "CERTIFICATE"));
  }
  if (!files.cert.empty()) {
    TS_ASSIGN_OR_RETURN(pems.cert, ReadPem(files.cert, "CERTIFICATE"));
    TS_ASSIGN_OR_RETURN(pems.key, ReadPem(files.key, "PRIVATE KEY"));
  }
  return pems;
}

// gRPC finds this out only when a server begins to listen; so one does, where nobody can find it.
absl::Status CheckPair(const TlsFiles& files, const Pems& pems) {
  if (pems.cert.empty()) return absl::OkStatus();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({pems.key, pems.cert});
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix-abstract:tiltshift-" + RandomHex(16),
                           grpc::SslServerCredentials(options));
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  if (server != nullptr) server->Shutdown();
  queue->Shutdown();
  void* tag;
  for (bool ok; queue->Next(&tag, &ok);) {
  }
  if (server != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(files.key, " is not the key of the certificate in ", files.cert));
}

#if __has_include(<grpcpp/security/tls_certificate_provider.h>)
using grpc::experimental::FileWatcherCertificateProvider;

constexpr unsigned kLookEverySeconds = 1;

std::shared_ptr<grpc::ServerCredentials> ServerOf(const TlsFiles& files, const Pems&) {
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                       kLookEverySeconds));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  if (!files.ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> ClientOf(const TlsFiles& files, const Pems&) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(
      files.key, files.cert, files.ca, kLookEverySeconds));
  options.watch_root_certs();
  if (!files.cert.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}
#else  // gRPC 1.30, Ubuntu 22.04's: as they are now
std::shared_ptr<grpc::ServerCredentials> ServerOf(const TlsFiles& files, const Pems& pems) {
  grpc::SslServerCredentialsOptions options(files.ca.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = pems.ca;
  options.pem_key_cert_pairs.push_back({pems.key, pems.cert});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> ClientOf(const TlsFiles&, const Pems& pems) {
  return grpc::SslCredentials({pems.ca, pems.key, pems.cert});
}
#endif

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerTls(const TlsFiles& files) {
  TS_ASSIGN_OR_RETURN(const Pems pems, ReadAll(files));
  TS_RETURN_IF_ERROR(CheckPair(files, pems));
  return ServerOf(files, pems);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientTls(const TlsFiles& files) {
  TS_ASSIGN_OR_RETURN(const Pems pems, ReadAll(files));
  TS_RETURN_IF_ERROR(CheckPair(files, pems));
  return ClientOf(files, pems);
}

}  // namespace tiltshift
