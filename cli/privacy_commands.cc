// `tiltshift forget` and `tiltshift receipts`: the end of photos.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/receipts.h"
#include "seal/farm_key.h"

namespace tiltshift::cli {
namespace {

struct PrivacyOptions {
  Common common;
  std::string job, entry, author, tenant, public_key;
  bool check = false;
};

absl::StatusOr<ExitCode> RunForget(const PrivacyOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  v1::ForgetRequest request;
  request.set_tenant(options.tenant);
  request.set_job_id(options.job);
  request.set_entry_id(options.entry);
  request.set_author(options.author);
  TS_ASSIGN_OR_RETURN(const v1::ForgetResponse forgotten, client.Forget(request));
  if (options.common.json) {
    std::printf("%s\n", ToJson(forgotten).c_str());
    return kDone;
  }
  std::printf("%s photos destroyed; `tiltshift receipts JOB` shows what became of a job's\n",
              WithCommas(forgotten.destroyed()).c_str());
  return kDone;
}

// Prints one; whether it is signed by `public_key`.
bool Show(const v1::Receipt& receipt, const PrivacyOptions& options,
          const std::string& public_key) {
  const bool good = receipt.public_key() == public_key &&
                    seal::IsSigned(receipt.statement(), receipt.signature(), public_key);
  if (options.common.json) {
    std::printf("%s", ReceiptLine(receipt).c_str());
    return good;
  }
  const auto statement = nlohmann::json::parse(receipt.statement(), nullptr, false);
  const auto text = [&](const char* field) {
    return statement.is_object() ? statement.value(field, std::string()) : std::string();
  };
  std::string entries;
  if (statement.is_object() && statement.contains("entries")) {
    for (const auto& entry : statement["entries"])
      entries += (entries.empty() ? "" : " ") + entry.get<std::string>();
  }
  std::printf("%-34s %-24s %-26s %s%s\n", text("photo").c_str(), entries.c_str(),
              text("destroyed_at").c_str(), text("why").c_str(),
              !options.check ? ""
              : good         ? "; signed"
                             : "; NOT SIGNED by this farm's key");
  return good;
}

absl::StatusOr<ExitCode> RunReceipts(const PrivacyOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  std::vector<v1::Receipt> receipts;
  TS_ASSIGN_OR_RETURN(
      const v1::ListReceiptsResponse all,
      client.ListReceipts(options.tenant, options.job,
                          [&](const v1::Receipt& receipt) { receipts.push_back(receipt); }));
  const std::string& by = options.public_key.empty() ? all.public_key() : options.public_key;
  bool good = true;
  for (const v1::Receipt& receipt : receipts) good = Show(receipt, options, by) && good;
  if (!options.common.json) {
    std::printf("%zu of %s photos are destroyed; the farm signs with %s\n", receipts.size(),
                WithCommas(all.total()).c_str(), by.empty() ? "nothing" : by.c_str());
  }
  return !options.check || good ? kDone : kJobFailed;
}

}  // namespace

void AddPrivacyCommands(CLI::App& app, Chosen& chosen) {
  auto forget = std::make_shared<PrivacyOptions>();
  CLI::App* command = AddFarmCommand(app, chosen, forget, "forget",
                                     "Destroy photos now: of a job, an entry, an author",
                                     "tiltshift forget j0123456789abcde --entry e-017", RunForget);
  command->add_option("job", forget->job, "the job's id; left out: all jobs, of an --author");
  command->add_option("--entry", forget->entry, "only that entry's");
  command->add_option("--author", forget->author, "only that author's");
  command->add_option("--tenant", forget->tenant, "whose jobs; default: default");

  auto receipts = std::make_shared<PrivacyOptions>();
  command = AddFarmCommand(app, chosen, receipts, "receipts",
                           "What became of a job's photos, signed by the farm",
                           "tiltshift receipts j0123456789abcde --check", RunReceipts);
  command->add_option("job", receipts->job, "the job's id")->required();
  command->add_flag("--check", receipts->check,
                    "check the signatures; exit code 1 where one is bad");
  command->add_option("--public-key", receipts->public_key,
                      "of the farm, as it told you once; default: as it tells now");
  command->add_option("--tenant", receipts->tenant, "whose job; default: default");
}

}  // namespace tiltshift::cli
