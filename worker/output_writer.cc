#include "worker/output_writer.h"

#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <thread>

#include "base/hash.h"
#include "proto/farm.pb.h"
#include "provenance/credentials.h"

namespace tiltshift::worker {
namespace {

constexpr int kTries = 4;
constexpr auto kFirstWait = std::chrono::milliseconds(250);  // doubles: under two seconds in all

absl::StatusOr<bool> Put(store::BlobStore& blobs, const std::string& key,
                         const std::string& bytes) {
  absl::StatusOr<bool> put = blobs.PutIfAbsent(key, bytes);
  auto wait = kFirstWait;
  for (int i = 1; i < kTries && !put.ok(); ++i, wait *= 2) {
    std::this_thread::sleep_for(wait);
    put = blobs.PutIfAbsent(key, bytes);
  }
  return put;
}

// The same picture, whoever signed it: the farm's certificate may have been changed in between.
bool SamePicture(const std::string& earlier, const std::string& now) {
  const auto earlier_alone = provenance::WithoutCredentials(earlier);
  const auto now_alone = provenance::WithoutCredentials(now);
  return earlier_alone.ok() && now_alone.ok() && *earlier_alone == *now_alone;
}

// `png`: what is stored.
std::string ManifestLine(const Work& work, const plan::Variant& variant, const std::string& png,
                         const RenderedVariant& rendered, double seconds,
                         const std::string& worker_id) {
  v1::OutputInfo info;
  info.set_index(work.index);
  info.mutable_parameters()->insert(variant.parameters.begin(), variant.parameters.end());
  info.set_seed(variant.seed);
  info.set_name(variant.output_name);
  info.set_sha256(Sha256Hex(png));
  info.set_bytes(png.size());
  info.set_seconds(seconds);
  info.set_render_class(rendered.render_class);
  info.set_prompt(variant.prompt);
  info.set_worker(worker_id);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string line;
  const auto printed = google::protobuf::util::MessageToJsonString(info, &line, options);
  return printed.ok() ? line + "\n" : "";
}

}  // namespace

absl::Status WriteOutput(store::BlobStore& blobs, const Work& work, const plan::Variant& variant,
                         const RenderedVariant& rendered, double seconds,
                         const std::string& worker_id) {
  const std::string key = absl::StrCat("jobs/", work.job_id, "/outputs/", variant.output_name);
  TS_ASSIGN_OR_RETURN(const bool created, Put(blobs, key, rendered.png));
  std::string earlier;
  if (!created) {
    TS_ASSIGN_OR_RETURN(earlier, blobs.Get(key));
    if (earlier != rendered.png && !SamePicture(earlier, rendered.png)) {
      return absl::DataLossError(absl::StrCat(
          variant.output_name, " was rendered before with other bytes: ", Sha256Hex(earlier),
          " then, ", Sha256Hex(rendered.png), " now (", rendered.render_class,
          "); workers of one job must share a render class"));
    }
  }
  const std::string line =
      ManifestLine(work, variant, created ? rendered.png : earlier, rendered, seconds, worker_id);
  if (line.empty())
    return absl::InvalidArgumentError(
        "a parameter is not valid UTF-8, so the manifest can't hold it");
  const std::string part = absl::StrCat("jobs/", work.job_id, "/manifest/", work.index, "-",
                                        work.index, "-", work.token, ".jsonl");
  return Put(blobs, part, line).status();
}

}  // namespace tiltshift::worker
