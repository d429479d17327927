// TLS by certificates in files that are looked at every second: what is renewed counts for
// connections that begin from then on, and nothing is restarted. Until a new certificate and its
// key fit each other, the earlier pair goes on. With gRPC 1.30, which can't look, they are read once.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace tiltshift {

struct TlsFiles {
  std::string ca;         // whose certificates the other side must show
  std::string cert, key;  // our own, PEM; of a client they may be empty
};

// InvalidArgument names the file that is not there, or is not what it is to be, or says that key
// and certificate are not each other's. Of a server the CA may be empty: then clients are asked for
// no certificate; else one that is shown must be valid.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerTls(const TlsFiles& files);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientTls(const TlsFiles& files);

}  // namespace tiltshift
