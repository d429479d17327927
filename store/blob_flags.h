// The command line's words for a blob store, the same for every program that opens one.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "store/blob_store.h"

namespace tiltshift::store {

// `what` --blobs is to this program.
inline void AddBlobFlags(CLI::App& app, const std::string& what, BlobOptions& options) {
  app.add_option("--blobs", options.where,
                 what +
                     ": a folder, or s3://BUCKET/PREFIX, with AWS_ACCESS_KEY_ID and "
                     "AWS_SECRET_ACCESS_KEY")
      ->required();
  app.add_option(
      "--s3-endpoint", options.s3_endpoint,
      "http(s)://HOST:PORT; default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's");
  app.add_option("--s3-region", options.s3_region,
                 "default: AWS_REGION, AWS_DEFAULT_REGION, or us-east-1");
}

}  // namespace tiltshift::store
