#include "cli/receipts.h"

#include <nlohmann/json.hpp>

#include "base/file.h"

namespace tiltshift::cli {

std::string ReceiptLine(const v1::Receipt& receipt) {
  const nlohmann::ordered_json line = {{"statement", receipt.statement()},
                                       {"signature", receipt.signature()},
                                       {"public_key", receipt.public_key()}};
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<size_t> EndPhotos(FarmClient& client, const std::string& job_id,
                                 const std::string& file) {
  TS_ASSIGN_OR_RETURN(const v1::Job job, client.GetJob(job_id));
  v1::ForgetRequest forget;
  forget.set_tenant(job.spec().tenant());
  forget.set_job_id(job_id);
  TS_RETURN_IF_ERROR(client.Forget(forget).status());
  std::string lines;
  size_t count = 0;
  TS_RETURN_IF_ERROR(client
                         .ListReceipts(job.spec().tenant(), job_id,
                                       [&](const v1::Receipt& receipt) {
                                         lines += ReceiptLine(receipt);
                                         ++count;
                                       })
                         .status());
  TS_RETURN_IF_ERROR(WriteFileAtomic(file, lines, IfPresent::kReplace).status());
  return count;
}

}  // namespace tiltshift::cli
