#include "gallery/api.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "gallery/live.h"
#include "gallery/zip.h"

namespace tiltshift::gallery {
namespace {

using Farm = v1::Farm::Stub;

constexpr int kMostValuesShown = 1'000;  // of an axis
constexpr size_t kMostZipped = 5'000;
constexpr char kAxisPrefix[] = "axis.";

absl::StatusOr<uint64_t> NumberOf(const std::string& what, const std::string& text) {
  uint64_t number = 0;
  if (text.empty() || absl::SimpleAtoi(text, &number)) return number;
  return absl::InvalidArgumentError(absl::StrCat(what, ": no number"));
}

template <typename Message>
HttpResponse Respond(const absl::StatusOr<Message>& answer) {
  return answer.ok() ? JsonResponse(JsonOf(*answer)) : ErrorResponse(answer.status());
}

// As it may stand in a header, between quotes.
std::string FileName(const std::string& name) {
  std::string safe;
  for (const char c : name)
    safe.push_back(
        absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' ? c : '_');
  return safe;
}

template <typename Request>
Request OfJob(const ApiCall& call) {
  Request request;
  request.set_job_id(call.path[1]);
  return request;
}

template <typename Request>
absl::Status ReadPage(const ApiCall& call, Request& request) {
  TS_ASSIGN_OR_RETURN(const uint64_t first, NumberOf("first", call.request.Query("first")));
  TS_ASSIGN_OR_RETURN(const uint64_t limit, NumberOf("limit", call.request.Query("limit")));
  request.set_first(first);
  request.set_limit(static_cast<uint32_t>(std::min<uint64_t>(limit, UINT32_MAX)));
  return absl::OkStatus();
}

HttpResponse ListJobs(const ApiCall& call) {
  v1::ListJobsRequest request;
  request.set_tenant(call.request.Query("tenant"));
  return Respond(call.farm->Call(&Farm::ListJobs, request));
}

// Without what a page does not show: ControlNets' pictures, and values past the first thousand.
HttpResponse GetJob(const ApiCall& call) {
  auto job = call.farm->Call(&Farm::GetJob, OfJob<v1::GetJobRequest>(call));
  if (!job.ok()) return ErrorResponse(job.status());
  for (v1::Control& control : *job->mutable_spec()->mutable_controls()) control.clear_picture();
  for (v1::Axis& axis : *job->mutable_spec()->mutable_axes()) {
    auto* values = axis.has_list() ? axis.mutable_list()->mutable_values() : nullptr;
    if (values != nullptr && values->size() > kMostValuesShown)
      values->DeleteSubrange(kMostValuesShown, values->size() - kMostValuesShown);
  }
  return JsonResponse(JsonOf(*job));
}

HttpResponse ListVariants(const ApiCall& call) {
  auto request = OfJob<v1::ListVariantsRequest>(call);
  if (const absl::Status read = ReadPage(call, request); !read.ok()) return ErrorResponse(read);
  request.set_failed(!call.request.Query("failed").empty());
  for (const auto& [name, value] : call.request.query) {
    if (!absl::StartsWith(name, kAxisPrefix)) continue;
    const std::string axis = name.substr(sizeof(kAxisPrefix) - 1);
    auto* choices = request.mutable_choices();
    auto choice = std::find_if(choices->begin(), choices->end(),
                               [&](const v1::AxisChoice& known) { return known.axis() == axis; });
    v1::AxisChoice& chosen = choice == choices->end() ? *request.add_choices() : *choice;
    chosen.set_axis(axis);
    chosen.add_values(value);
  }
  return Respond(call.farm->Call(&Farm::ListVariants, request));
}

HttpResponse GetOutput(const ApiCall& call) {
  const auto index = NumberOf("variant", call.path[3]);
  if (!index.ok()) return ErrorResponse(index.status());
  return Respond(call.farm->ReadInfo(call.path[1], *index));
}

HttpResponse GetPicture(const ApiCall& call) {
  const auto index = NumberOf("variant", call.path[3]);
  const auto side = NumberOf("side", call.request.Query("side"));
  if (!index.ok()) return ErrorResponse(index.status());
  if (!side.ok()) return ErrorResponse(side.status());
  auto picture = call.farm->ReadPicture(
      call.path[1], *index, static_cast<uint32_t>(std::min<uint64_t>(*side, UINT32_MAX)));
  if (!picture.ok()) return ErrorResponse(picture.status());
  HttpResponse response;
  const std::string tag = absl::StrCat("\"", Sha256Hex(picture->bytes).substr(0, 20), "\"");
  // The farm never renders a variant to other bytes; but whoever logs out takes them along.
  response.headers = {{"Content-Type", picture->head.media_type()},
                      {"Cache-Control", "private, max-age=86400"},
                      {"Vary", "Cookie"},
                      {"ETag", tag}};
  if (!call.request.Query("download").empty()) {
    response.headers.emplace_back(
        "Content-Disposition",
        absl::StrCat("attachment; filename=\"", FileName(picture->head.name()), "\""));
  }
  if (call.request.Header("if-none-match") == tag) {
    response.status = 304;
  } else {
    response.body = std::move(picture->bytes);
  }
  return response;
}

// Pictures that are not there yet are left out.
HttpResponse GetZip(const ApiCall& call) {
  const auto indices = ParseIndices(call.request.Query("index"), kMostZipped);
  if (!indices.ok()) return ErrorResponse(indices.status());
  const auto job = call.farm->Call(&Farm::GetJob, OfJob<v1::GetJobRequest>(call));
  if (!job.ok()) return ErrorResponse(job.status());
  HttpResponse response;
  response.headers = {
      {"Content-Type", "application/zip"},
      {"Cache-Control", "no-store"},
      {"Content-Disposition",
       absl::StrCat("attachment; filename=\"", FileName(job->spec().name()), ".zip\"")}};
  response.stream = [farm = call.farm, id = job->id(), indices = *indices](HttpWriter& out) {
    ZipWriter zip(out);
    for (const uint64_t index : indices) {
      const auto picture = farm->ReadPicture(id, index, 0);
      if (absl::IsFailedPrecondition(picture.status())) continue;
      if (!picture.ok() || !zip.Add(picture->head.name(), picture->bytes)) return false;
    }
    return zip.End();
  };
  return response;
}

HttpResponse ListEntries(const ApiCall& call) {
  auto request = OfJob<v1::ListEntriesRequest>(call);
  if (const absl::Status read = ReadPage(call, request); !read.ok()) return ErrorResponse(read);
  return Respond(call.farm->Call(&Farm::ListEntries, request));
}

HttpResponse ExplainJob(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::Explain, OfJob<v1::ExplainRequest>(call)));
}

HttpResponse ExplainVariant(const ApiCall& call) {
  const auto index = NumberOf("variant", call.path[3]);
  if (!index.ok()) return ErrorResponse(index.status());
  v1::ExplainRequest request;
  request.mutable_variant()->set_job_id(call.path[1]);
  request.mutable_variant()->set_index(*index);
  return Respond(call.farm->Call(&Farm::Explain, request));
}

HttpResponse ExplainWorker(const ApiCall& call) {
  v1::ExplainRequest request;
  request.set_worker_id(call.path[1]);
  return Respond(call.farm->Call(&Farm::Explain, request));
}

HttpResponse ListWorkers(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::ListWorkers, v1::ListWorkersRequest()));
}

HttpResponse PauseJob(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::PauseJob, OfJob<v1::PauseJobRequest>(call)));
}
HttpResponse ResumeJob(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::ResumeJob, OfJob<v1::ResumeJobRequest>(call)));
}
HttpResponse CancelJob(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::CancelJob, OfJob<v1::CancelJobRequest>(call)));
}
HttpResponse RetryFailed(const ApiCall& call) {
  return Respond(call.farm->Call(&Farm::RetryFailed, OfJob<v1::RetryFailedRequest>(call)));
}
HttpResponse SetPriority(const ApiCall& call) {
  v1::SetPriorityRequest request;
  if (const absl::Status read = FromJson(call.request.body, request); !read.ok())
    return ErrorResponse(read);
  request.set_job_id(call.path[1]);
  return Respond(call.farm->Call(&Farm::SetPriority, request));
}

// A job like another, with axes of its own: the body is a spec of which name, axes and combine
// count. What was asked for a contest's entries becomes a campaign.
HttpResponse SubmitLike(const ApiCall& call) {
  v1::JobSpec wanted;
  if (const absl::Status read = FromJson(call.request.body, wanted); !read.ok())
    return ErrorResponse(read);
  auto job = call.farm->Call(&Farm::GetJob, OfJob<v1::GetJobRequest>(call));
  if (!job.ok()) return ErrorResponse(job.status());
  v1::SubmitRequest request;
  request.set_request_id(call.request.Query("request_id"));
  v1::JobSpec& spec = *request.mutable_spec();
  spec = std::move(*job->mutable_spec());
  spec.set_kind(v1::JOB_KIND_CAMPAIGN);
  spec.clear_contest();
  spec.clear_deadline_unix_ms();
  spec.set_name(wanted.name());
  *spec.mutable_axes() = wanted.axes();
  spec.set_combine(wanted.combine());
  return Respond(call.farm->Call(&Farm::Submit, request));
}

constexpr ApiRoute kRoutes[] = {
    {"GET", "jobs", ListJobs},
    {"GET", "jobs/*", GetJob},
    {"GET", "jobs/*/variants", ListVariants},
    {"GET", "jobs/*/variants/*", GetOutput},
    {"GET", "jobs/*/variants/*/explain", ExplainVariant},
    {"GET", "jobs/*/pictures/*", GetPicture},
    {"GET", "jobs/*/pictures.zip", GetZip},
    {"GET", "jobs/*/entries", ListEntries},
    {"GET", "jobs/*/explain", ExplainJob},
    {"POST", "jobs/*/pause", PauseJob},
    {"POST", "jobs/*/resume", ResumeJob},
    {"POST", "jobs/*/cancel", CancelJob},
    {"POST", "jobs/*/retry", RetryFailed},
    {"POST", "jobs/*/priority", SetPriority},
    {"POST", "jobs/*/like", SubmitLike},
    {"GET", "jobs/*/live", LiveJob},
    {"GET", "live/jobs", LiveJobs},
    {"GET", "live/workers", LiveWorkers},
    {"GET", "workers", ListWorkers},
    {"GET", "workers/*/explain", ExplainWorker},
};

bool Fits(const char* pattern, const std::vector<std::string>& path) {
  const std::vector<std::string> parts = absl::StrSplit(pattern, '/');
  return std::equal(parts.begin(), parts.end(), path.begin(), path.end(),
                    [](const auto& part, const auto& name) {
                      return part == "*" ? !name.empty() : part == name;
                    });
}

}  // namespace

std::span<const ApiRoute> ApiRoutes() { return kRoutes; }

HttpResponse AnswerRoute(const ApiCall& call) {
  const std::string method = call.request.method == "HEAD" ? "GET" : call.request.method;
  const char* other = nullptr;
  for (const ApiRoute& route : kRoutes) {
    if (!Fits(route.pattern, call.path)) continue;
    if (method == route.method) return route.answer(call);
    other = route.method;
  }
  if (other == nullptr) return ErrorResponse(absl::NotFoundError("there is no such address"));
  HttpResponse response =
      ErrorResponse(absl::InvalidArgumentError(absl::StrCat("this is asked with ", other)));
  response.status = 405;
  response.headers.emplace_back("Allow", other);
  return response;
}

absl::StatusOr<std::vector<uint64_t>> ParseIndices(const std::string& text, size_t most) {
  const auto bad = absl::InvalidArgumentError(absl::StrCat(
      "index: write variants as 0-99,101; at most ", most, " (`tiltshift get` brings ", "more)"));
  std::set<uint64_t> indices;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<std::string> ends = absl::StrSplit(part, '-');
    uint64_t first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || last < first || last - first >= most)
      return bad;
    for (uint64_t index = first; index <= last && indices.size() <= most; ++index)
      indices.insert(index);
    if (indices.size() > most) return bad;
  }
  return std::vector<uint64_t>(indices.begin(), indices.end());
}

}  // namespace tiltshift::gallery
