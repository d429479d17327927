#include "scheduler/variants.h"

#include <algorithm>
#include <future>

#include "store/entry_batches.h"

namespace tiltshift::scheduler {
namespace {

constexpr uint32_t kListed = 100, kMostListed = 500;
constexpr size_t kListedBytes = 2'000'000;
// Variants closer to each other than that are asked for together.
constexpr uint64_t kNear = 512;

std::vector<v1::VariantRange> RangesOf(const v1::ListVariantsResponse& response) {
  std::vector<v1::VariantRange> ranges;
  for (const v1::VariantStatus& variant : response.variants()) {
    if (ranges.empty() ||
        variant.index() - (ranges.back().first() + ranges.back().count()) > kNear) {
      ranges.emplace_back().set_first(variant.index());
    }
    ranges.back().set_count(variant.index() - ranges.back().first() + 1);
  }
  return ranges;
}

v1::VariantStatus& Add(plan::Variant variant, v1::ListVariantsResponse& response) {
  v1::VariantStatus& listed = *response.add_variants();
  listed.set_index(variant.index);
  for (auto& [name, value] : variant.parameters) (*listed.mutable_parameters())[name] = value;
  listed.set_prompt(std::move(variant.prompt));
  listed.set_seed(variant.seed);
  listed.set_name(std::move(variant.output_name));
  return listed;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const plan::Plan>> Variants::PlanOf(const v1::Job& job) {
  const std::string key = absl::StrCat(job.id(), " ", job.variants());  // a contest grows
  if (auto kept = plans_.Find(key)) return kept;
  TS_ASSIGN_OR_RETURN(plan::Plan made, plan::Plan::Create(job.spec()));
  auto plan = std::make_shared<const plan::Plan>(std::move(made));
  plans_.Keep(key, plan, job.spec().ByteSizeLong());
  return plan;
}

absl::StatusOr<plan::EntryRow> Variants::RowOf(const v1::Job& job, uint64_t entry) {
  for (int number = 0; number < job.spec().contest().batches_size(); ++number) {
    const v1::EntryBatch& known = job.spec().contest().batches(number);
    if (entry >= known.entries()) {
      entry -= known.entries();
      continue;
    }
    const std::string key = absl::StrCat(job.id(), " ", number);
    auto batch = batches_.Find(key);
    if (batch == nullptr) {
      TS_ASSIGN_OR_RETURN(v1::Entries read,
                          store::GetBatch(blobs_, job.id(), static_cast<uint64_t>(number)));
      batch = std::make_shared<const v1::Entries>(std::move(read));
      batches_.Keep(key, batch, batch->ByteSizeLong());
    }
    return plan::RowOf(*batch, entry);
  }
  return absl::DataLossError(absl::StrCat("job ", job.id(), " lacks a batch of its entries"));
}

absl::StatusOr<plan::Variant> Variants::At(const v1::Job& job, const plan::Plan& plan,
                                           uint64_t index) {
  if (index >= plan.count()) {
    return absl::OutOfRangeError(
        absl::StrCat("index: job ", job.id(), " has ", plan.count(), " variants, no ", index));
  }
  plan::EntryRow row;
  if (job.spec().has_contest()) {
    TS_ASSIGN_OR_RETURN(row, RowOf(job, plan.EntryOf(index)));
  }
  return plan.At(index, row);
}

absl::StatusOr<plan::Variant> Variants::At(const v1::Job& job, uint64_t index) {
  TS_ASSIGN_OR_RETURN(const auto plan, PlanOf(job));
  return At(job, *plan, index);
}

absl::StatusOr<v1::ListVariantsResponse> Variants::List(const v1::Job& job,
                                                        const v1::ListVariantsRequest& request) {
  if (request.limit() > kMostListed)
    return absl::InvalidArgumentError(absl::StrCat("limit: more than ", kMostListed));
  if (request.failed()) return ListFailed(job, request);
  TS_ASSIGN_OR_RETURN(const auto plan, PlanOf(job));
  std::map<std::string, std::vector<std::string>> choices;
  for (const v1::AxisChoice& choice : request.choices())
    choices[choice.axis()] = {choice.values().begin(), choice.values().end()};
  TS_ASSIGN_OR_RETURN(const plan::Selection selection, plan->Select(choices));
  v1::ListVariantsResponse response;
  response.set_total(selection.count());
  const uint64_t limit = request.limit() == 0 ? kListed : request.limit();
  size_t bytes = 0;
  for (uint64_t i = 0; i < limit && bytes < kListedBytes; ++i) {
    if (request.first() >= selection.count() || i >= selection.count() - request.first()) break;
    TS_ASSIGN_OR_RETURN(plan::Variant variant,
                        At(job, *plan, selection.IndexAt(request.first() + i)));
    bytes += Add(std::move(variant), response).ByteSizeLong();
  }
  TS_RETURN_IF_ERROR(AddStates(job, response));
  return response;
}

absl::StatusOr<v1::ListVariantsResponse> Variants::ListFailed(
    const v1::Job& job, const v1::ListVariantsRequest& request) {
  if (request.choices_size() != 0)
    return absl::InvalidArgumentError("failed: not together with choices");
  TS_ASSIGN_OR_RETURN(const auto plan, PlanOf(job));
  std::promise<absl::StatusOr<store::FarmStore::Failures>> answer;
  loop_.FindFailures(job.id(), request.first(), request.limit() == 0 ? kListed : request.limit(),
                     [&answer](auto found) { answer.set_value(std::move(found)); });
  TS_ASSIGN_OR_RETURN(const auto found, answer.get_future().get());
  v1::ListVariantsResponse response;
  response.set_total(job.failed());
  response.set_next(found.next);
  size_t bytes = 0;
  for (const store::StoredFailure& failure : found.failed) {
    if (bytes >= kListedBytes) {
      response.set_next(failure.index);
      break;
    }
    TS_ASSIGN_OR_RETURN(plan::Variant variant, At(job, *plan, failure.index));
    v1::VariantStatus& listed = Add(std::move(variant), response);
    listed.set_state(v1::VARIANT_STATE_FAILED);
    listed.set_reason(failure.reason);
    listed.set_attempts(failure.attempts);
    bytes += listed.ByteSizeLong();
  }
  return response;
}

absl::Status Variants::AddStates(const v1::Job& job, v1::ListVariantsResponse& response) {
  using Found = absl::StatusOr<store::FarmStore::Progress>;
  const auto ranges = RangesOf(response);
  std::vector<std::promise<Found>> answers(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    loop_.FindProgress(job.id(), ranges[i],
                       [&answers, i](Found found) { answers[i].set_value(std::move(found)); });
  }
  std::vector<Found> found;  // all of them: what they write to is ours
  for (auto& answer : answers) found.push_back(answer.get_future().get());
  for (const Found& progress : found) TS_RETURN_IF_ERROR(progress.status());
  size_t range = 0;
  const bool over = job.state() == v1::JOB_STATE_CANCELLED;
  for (v1::VariantStatus& variant : *response.mutable_variants()) {
    while (variant.index() >= ranges[range].first() + ranges[range].count()) ++range;
    const uint64_t at = variant.index() - ranges[range].first();
    const store::FarmStore::Progress& progress = *found[range];
    if (progress.committed[at]) {
      variant.set_state(v1::VARIANT_STATE_COMMITTED);
    } else if (progress.failed[at]) {
      variant.set_state(v1::VARIANT_STATE_FAILED);
      const auto reason = progress.reasons.find(variant.index());
      if (reason != progress.reasons.end()) variant.set_reason(reason->second);
    } else {
      variant.set_state(over ? v1::VARIANT_STATE_CANCELLED : v1::VARIANT_STATE_WAITING);
    }
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::scheduler
