// The photos and masks that a spec and its entries name as files: looked at before anything is
// sent, uploaded before the job is, and replaced by the ids that they have then.
#pragma once

#include <functional>
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
  // below the folder of the spec, or of the table that names them. A core decodes one at a time.
  plan::PhotoCheck Checker();

  // SHA-256 of all that was looked at: of a spec's, or a table's, photos.
  std::string Digest() const;

  // Uploads what files the spec and its entries name, several at once. The same request id gives
  // the same ids. Shows how far it is.
  absl::Status Upload(const FarmClient& client, const std::string& request_id,
                      plan::SpecFile& file);
  absl::Status Upload(const FarmClient& client, const std::string& tenant,
                      const std::string& request_id, std::vector<v1::Entries>& batches);

 private:
  struct Known {
    std::string path, folder;  // `path` is below it
    bool is_mask = false;      // and nothing else
    int width = 0, height = 0;
    std::string sha256;
    std::string why_not;  // it can't be taken; empty: it can
    std::string id;       // once it is uploaded
  };
  void Look(Known& known) const;
  std::string WhyNot(const plan::PhotoNames& names) const;
  static absl::StatusOr<std::string> Read(const Known& known);
  static absl::Status UploadOne(FarmClient& client, const std::string& tenant,
                                const std::string& request_id, Known& known);
  // Of those that are named, what is not uploaded yet.
  absl::Status UploadAll(const FarmClient& client, const std::string& tenant,
                         const std::string& request_id, const std::vector<std::string>& names);
  // The id of what was uploaded; an id, and nothing, stay what they are.
  std::string IdOf(const std::string& name) const;

  const picture::PhotoProcess process_;
  std::map<std::string, Known> files_;  // as they are written in the table
};

}  // namespace tiltshift::cli
