// What a farm says it destroyed, as files and for people.
#pragma once

#include <string>

#include "base/status.h"
#include "cli/client.h"

namespace tiltshift::cli {

// Of a job that has ended: has the farm destroy what photos it still has, and writes the receipts
// of all of them, a line each. Their number.
absl::StatusOr<size_t> EndPhotos(FarmClient& client, const std::string& job_id,
                                 const std::string& file);

// A line of JSON.
std::string ReceiptLine(const v1::Receipt& receipt);

}  // namespace tiltshift::cli
