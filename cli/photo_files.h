// The photos that a spec and its entries name as files: looked at before anything is sent, uploaded
// before the job is, and replaced by the ids that they have then.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/client.h"
#include "picture/photo_process.h"
#include "plan/entry_table.h"
#include "plan/spec.h"

namespace tiltshift::cli {

class PhotoFiles {
 public:
  // To be asked by LoadSpec and ReadEntryTable. Files lie
  // below the folder of the spec, or of the table that names them.
  plan::PhotoCheck Checker();

  // SHA-256 of all that was looked at: of a spec's, or a table's, photos.
  std::string Digest() const;

  // Uploads what files the spec and its entries name. The same request id gives the same ids.
  // Shows how far it is.
  absl::Status Upload(FarmClient& client, const std::string& request_id, plan::SpecFile& file);
  absl::Status Upload(FarmClient& client, const std::string& tenant, const std::string& request_id,
                      std::vector<v1::Entries>& batches);

 private:
  struct Known {
    std::string path, folder;  // `path` is below it
    std::string sha256;
    std::string id;  // once it is uploaded
  };
  std::string Look(const std::string& folder, const std::string& file);
  static absl::StatusOr<std::string> Read(const Known& known);
  absl::StatusOr<std::string> UploadOne(FarmClient& client, const std::string& tenant,
                                        const std::string& request_id, const std::string& file);

  const picture::PhotoProcess process_;
  std::map<std::string, Known> files_;  // as they are written in the table
  std::map<std::string, std::string> bad_;
  size_t uploaded_ = 0;
};

}  // namespace tiltshift::cli
