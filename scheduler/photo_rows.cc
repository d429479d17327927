#include "scheduler/photo_rows.h"

#include "plan/photo_id.h"
#include "store/entry_batches.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kMostKept = 1'000;  // jobs

}  // namespace

std::vector<PhotoRow> RowsWithPhotos(const v1::Entries& batch) {
  std::vector<int> photos;
  int id = -1, author = -1;
  for (int i = 0; i < batch.columns_size(); ++i) {
    if (plan::IsPhotoColumn(batch.columns(i))) photos.push_back(i);
    if (batch.columns(i) == "id") id = i;
    if (batch.columns(i) == "author") author = i;
  }
  std::vector<PhotoRow> rows;
  for (int i = 0; i < batch.entries_size() && !photos.empty(); ++i) {
    const v1::Entry& entry = batch.entries(i);
    const auto value = [&](int column) {
      return column < 0 || column >= entry.values_size() ? std::string() : entry.values(column);
    };
    for (const int photo : photos) {
      if (!value(photo).empty())
        rows.push_back({value(photo), static_cast<uint64_t>(i), value(id), value(author),
                        batch.columns(photo)});
    }
  }
  return rows;
}

std::vector<PhotoRow> RowsOf(const v1::JobSpec& spec) {
  std::vector<PhotoRow> rows;
  if (!spec.photo().empty())
    rows.push_back({.photo_id = spec.photo(), .field = plan::kPhotoColumn});
  if (!spec.mask().empty()) rows.push_back({.photo_id = spec.mask(), .field = plan::kMaskColumn});
  return rows;
}

absl::StatusOr<PhotoRows::Rows> PhotoRows::Of(const v1::Job& job) {
  const int batches = job.spec().contest().batches_size();
  Known known;
  {
    std::lock_guard lock(mutex_);
    const auto found = jobs_.find(job.id());
    if (found != jobs_.end()) known = found->second;
  }
  if (known.rows != nullptr && known.batches == batches) return known.rows;
  std::vector<PhotoRow> rows = known.rows != nullptr ? *known.rows : RowsOf(job.spec());
  uint64_t before = 0;
  for (int i = 0; i < batches && plan::HasPhotos(job.spec()); ++i) {
    if (i >= known.batches) {
      TS_ASSIGN_OR_RETURN(const v1::Entries batch,
                          store::GetBatch(blobs_, job.id(), static_cast<uint64_t>(i)));
      for (PhotoRow& row : RowsWithPhotos(batch)) {
        row.entry += before;
        rows.push_back(std::move(row));
      }
    }
    before += job.spec().contest().batches(i).entries();
  }
  known = {batches, std::make_shared<const std::vector<PhotoRow>>(std::move(rows))};
  std::lock_guard lock(mutex_);
  if (jobs_.size() >= kMostKept) jobs_.clear();
  jobs_[job.id()] = known;
  return known.rows;
}

}  // namespace tiltshift::scheduler
