#include "scheduler/photo_service.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_join.h"
#include "plan/photo_id.h"
#include "scheduler/message_checks.h"
#include "scheduler/photo_upload.h"
#include "store/photo_blobs.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kMostNamed = 10;  // bad rows in one error
constexpr uint32_t kListed = 100, kMostListed = 1'000;

std::string TenantOf(const std::string& tenant) { return tenant.empty() ? "default" : tenant; }

// Whether somebody of `tenant` may know of the job. Who may not is told what of a job that is not
// there.
bool MaySee(const v1::Job& job, const std::string& tenant) {
  return TenantOf(job.spec().tenant()) == TenantOf(tenant);
}

}  // namespace

void PhotoService::AddTo(CallServer& server) {
  const std::string farm = "/tiltshift.v1.Farm/";
  server.BidiStream(farm + "UploadPhoto", [this](std::shared_ptr<Call> call) {
    return std::make_shared<PhotoUpload>(std::move(call), loop_, vault_, threads_, uploading_,
                                         metrics_.upload_photo_seconds);
  });
  server.Unary<v1::ForgetRequest, v1::ForgetResponse>(
      farm + "Forget", metrics_.forget_seconds, [this](const auto& request, auto reply) {
        if (const absl::Status may = CheckForget(request); !may.ok()) return reply(may);
        key_threads_.Run([this, request, reply] { reply(Forget(request)); });
      });
  server.Unary<v1::ListReceiptsRequest, v1::ListReceiptsResponse>(
      farm + "ListReceipts", metrics_.list_receipts_seconds,
      [this](const auto& request, auto reply) {
        if (const absl::Status may = loop_.Leading(); !may.ok()) return reply(may);
        key_threads_.Run([this, request, reply] { reply(ListReceipts(request)); });
      });
  server.Unary<v1::OpenPhotoRequest, v1::OpenPhotoResponse>(
      "/tiltshift.v1.Workers/OpenPhoto", metrics_.open_photo_seconds,
      [this](const auto& request, auto reply) { OpenPhoto(request, std::move(reply)); });
}

absl::Status PhotoService::TakePhotos(const std::string& job_id, const v1::JobSpec& spec,
                                      const v1::Entries& batch) {
  std::vector<PhotoRow> rows = RowsWithPhotos(batch);
  for (PhotoRow& row : RowsOf(spec)) rows.push_back(std::move(row));
  if (rows.empty()) return absl::OkStatus();
  TS_RETURN_IF_ERROR(vault_.TakesPhotos());
  std::set<std::string> ids;
  std::map<std::string, absl::Status> refused;
  for (const PhotoRow& row : rows) {
    if (plan::IsPhotoId(row.photo_id)) {
      ids.insert(row.photo_id);
    } else {
      refused[row.photo_id] = absl::InvalidArgumentError(
          absl::StrCat("\"", row.photo_id.substr(0, 40),
                       "\" is no uploaded photo's id; `tiltshift submit` uploads files"));
    }
  }
  if (refused.empty()) {
    const auto is_job = [this](const std::string& other) { return loop_.FindJob(other).ok(); };
    TS_ASSIGN_OR_RETURN(refused, vault_.Bind(ids, {TenantOf(spec.tenant()), job_id, is_job}));
  }
  std::vector<std::string> bad;
  for (const PhotoRow& row : rows) {
    const auto why = refused.find(row.photo_id);
    if (why == refused.end() || bad.size() == kMostNamed) continue;
    const std::string entry =
        spec.has_contest() ? absl::StrCat("entries[", row.entry, "]: column ") : "";
    bad.push_back(absl::StrCat(entry, row.field, ": ", Message(why->second)));
  }
  if (bad.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(bad, "\n"));
}

absl::Status PhotoService::CheckForget(const v1::ForgetRequest& request) const {
  TS_RETURN_IF_ERROR(loop_.Leading());
  if (!vault_.loaded()) return StillReading();
  if (request.job_id().empty() && request.author().empty())
    return absl::InvalidArgumentError("job_id: is missing; name a job, or an author");
  if (request.job_id().empty() && !request.entry_id().empty())
    return absl::InvalidArgumentError("job_id: is missing; an entry is one of a job");
  return absl::OkStatus();
}

absl::StatusOr<v1::ForgetResponse> PhotoService::Forget(const v1::ForgetRequest& request) {
  std::set<std::string> jobs = {request.job_id()};
  if (request.job_id().empty()) {
    jobs.clear();
    for (const KeptPhoto& photo : vault_.Kept()) jobs.insert(photo.job_id);
    jobs.erase("");
  }
  v1::ForgetResponse response;
  for (const std::string& id : jobs) {
    const auto job = loop_.FindJob(id);
    if (!job.ok() || !MaySee(**job, request.tenant())) {
      if (request.job_id().empty()) continue;
      return job.ok() ? NoSuchJob(id) : job.status();
    }
    TS_ASSIGN_OR_RETURN(const PhotoRows::Rows rows, rows_.Of(**job));
    std::map<std::string, std::vector<std::string>> photos;  // with all the entries made from each
    std::set<std::string> chosen;
    for (const PhotoRow& row : *rows) {
      photos[row.photo_id].push_back(row.entry_id);
      const bool meant = (request.entry_id().empty() || row.entry_id == request.entry_id()) &&
                         (request.author().empty() || row.author == request.author());
      if (meant) chosen.insert(row.photo_id);
    }
    if (chosen.empty() && !request.entry_id().empty())
      return absl::NotFoundError(absl::StrCat("entry_id: job ", id, " has no entry ",
                                              request.entry_id(), " with a photo"));
    for (const std::string& photo : chosen) {
      v1::PhotoEnding ending;
      ending.set_why("it was to be forgotten");
      ending.set_job_id(id);
      for (const std::string& entry : photos[photo])
        if (!entry.empty()) ending.add_entry_ids(entry);
      TS_ASSIGN_OR_RETURN(const bool destroyed, vault_.Destroy(photo, ending));
      response.set_destroyed(response.destroyed() + destroyed);
    }
  }
  return response;
}

absl::StatusOr<v1::ListReceiptsResponse> PhotoService::ListReceipts(
    const v1::ListReceiptsRequest& request) {
  TS_ASSIGN_OR_RETURN(const JobView job, loop_.FindJob(request.job_id()));
  if (!MaySee(*job, request.tenant())) return NoSuchJob(request.job_id());
  TS_ASSIGN_OR_RETURN(const PhotoRows::Rows rows, rows_.Of(*job));
  std::vector<std::string> photos;
  std::set<std::string> seen;
  for (const PhotoRow& row : *rows)
    if (seen.insert(row.photo_id).second) photos.push_back(row.photo_id);
  const uint64_t limit = std::min(request.limit() == 0 ? kListed : request.limit(), kMostListed);
  v1::ListReceiptsResponse response;
  response.set_total(photos.size());
  response.set_public_key(vault_.public_key());
  uint64_t at = request.first();
  for (; at < photos.size() && at - request.first() < limit; ++at) {
    auto receipt = store::GetReceipt(blobs_, photos[at]);
    if (absl::IsNotFound(receipt.status())) continue;
    if (!receipt.ok()) return receipt.status();
    *response.add_receipts() = *std::move(receipt);
  }
  if (at < photos.size()) response.set_next(at);
  return response;
}

void PhotoService::OpenPhoto(const v1::OpenPhotoRequest& request,
                             Reply<v1::OpenPhotoResponse> reply) {
  loop_.CheckLease(request.token(), request.worker_id(), request.job_id(),
                   [this, request, reply](const absl::Status& holds) {
                     if (!holds.ok()) return reply(holds);
                     key_threads_.Run([this, request, reply] {
                       const auto key = vault_.Open(request.photo_id(), request.job_id());
                       if (!key.ok()) return reply(key.status());
                       v1::OpenPhotoResponse response;
                       response.set_key(std::string(key->view()));
                       reply(response);
                       seal::Wipe(std::span(*response.mutable_key()));
                     });
                   });
}

}  // namespace tiltshift::scheduler
