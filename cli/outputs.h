// A job's pictures in a folder: fetched, checked, listed in manifest.jsonl, drawn on contact
// sheets.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/client.h"

namespace tiltshift::cli {

struct Fetched {
  uint64_t pictures = 0;  // in the folder now
  uint64_t fetched = 0;   // of these, new
  uint64_t bytes = 0;     // of the new ones
};

// Brings a job's committed pictures into `folder` and writes folder/manifest.jsonl, a line a
// picture by rising index. What is there with the right SHA-256 is kept, so that a second call
// fetches only what is new. Where `local_blobs` names the farm's own blob folder, files are linked
// instead of copied. Where `interrupted` says true it stops with Cancelled.
struct FetchOptions {
  std::string local_blobs;
  bool (*interrupted)() = nullptr;
};
absl::StatusOr<Fetched> FetchOutputs(FarmClient& client, const std::string& job_id,
                                     const std::string& folder, const FetchOptions& options);

// The lines of folder/manifest.jsonl.
absl::StatusOr<std::vector<v1::OutputInfo>> ReadManifest(const std::string& folder);

struct SheetLayout {
  int columns = 6;
  int cell_pixels = 256;
  std::string title;  // empty: none
};

// Draws folder's pictures onto folder/sheet.png, sheet-2.png, ... (contact-sheet.png, ... where a
// picture's name begins with "sheet"); returns the paths. Labels are the parameters that the file
// names tell.
absl::StatusOr<std::vector<std::string>> WriteSheets(const std::string& folder,
                                                     const SheetLayout& layout);

}  // namespace tiltshift::cli
