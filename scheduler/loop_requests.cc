// What clients ask of a FarmLoop: each an event of its own.
#include <utility>

#include "scheduler/answer.h"
#include "scheduler/message_checks.h"
#include "scheduler/round.h"

namespace tiltshift::scheduler {
namespace {

absl::Status CheckSubject(const v1::ExplainRequest& request) {
  TS_RETURN_IF_ERROR(CheckId("job_id", request.job_id()));
  TS_RETURN_IF_ERROR(CheckId("variant.job_id", request.variant().job_id()));
  return CheckId("worker_id", request.worker_id());
}

// What has ended runs again, what was cancelled does not.
absl::Status MayGoOn(const JobView& job, const std::string& id) {
  if (job == nullptr) return NoSuchJob(id);
  if (job->state() != v1::JOB_STATE_CANCELLED) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("job ", id, " was cancelled"));
}

}  // namespace

void FarmLoop::Submit(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants,
                      const std::string& request_id,
                      std::function<void(absl::StatusOr<std::string>)> done) {
  auto answer = std::make_shared<Answer<absl::StatusOr<std::string>>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status may = farm_->MayAdd(spec); !may.ok() && Job(job_id) == nullptr)
      return answer->Give(std::move(may));
    round.first.push_back(
        store::FarmStore::Submit(epoch_, job_id, spec, variants, round.now_ms, request_id));
    round.first_done.push_back([=, this, &round](const store::RedisReply& reply) {
      if (reply.text == job_id) farm_->AddJob(job_id, spec, variants, clock_.UnixMs());
      round.when_durable.push_back([answer, id = reply.text] { answer->Give(id); });
    });
  });
}

void FarmLoop::Append(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants,
                      Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status may = MayGoOn(Job(job_id), job_id); !may.ok())
      return answer->Give(std::move(may));
    round.first.push_back(store::FarmStore::Append(epoch_, job_id, spec, variants));
    round.first_done.push_back(
        [=, this](const store::RedisReply&) { farm_->Extend(job_id, spec, variants); });
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::CheckDemands(const v1::JobSpec& spec, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round&) { answer->Give(farm_->CheckDemandsOf(spec)); });
}

void FarmLoop::FindProgress(const std::string& job_id, const v1::VariantRange& range,
                            std::function<void(absl::StatusOr<store::FarmStore::Progress>)> done) {
  auto answer =
      std::make_shared<Answer<absl::StatusOr<store::FarmStore::Progress>>>(*this, std::move(done));
  Post([=, this](Round&) { answer->Give(store_->LoadProgress(job_id, range)); });
}

void FarmLoop::FindFailures(const std::string& job_id, uint64_t first, size_t limit,
                            std::function<void(absl::StatusOr<store::FarmStore::Failures>)> done) {
  auto answer =
      std::make_shared<Answer<absl::StatusOr<store::FarmStore::Failures>>>(*this, std::move(done));
  Post([=, this](Round&) { answer->Give(store_->LoadFailures(job_id, first, limit)); });
}

void FarmLoop::CheckLease(uint64_t token, const std::string& worker_id, const std::string& job_id,
                          Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round&) {
    answer->Give(farm_->HasLease(worker_id, token, job_id)
                     ? absl::OkStatus()
                     : absl::FailedPreconditionError(absl::StrCat(
                           "worker ", worker_id, " holds no lease ", token, " of job ", job_id)));
  });
}

void FarmLoop::Cancel(const std::string& job_id, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (!farm_->CancelJob(job_id, round.now_ms, round.batch, round.messages)) {
      answer->Give(NoSuchJob(job_id));
      return;
    }
    round.first.push_back(store::FarmStore::Cancel(epoch_, job_id, round.now_ms));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::SetPaused(const std::string& job_id, bool paused, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    const auto job = Job(job_id);
    if (job == nullptr || !farm_->SetPaused(job_id, paused, round.messages)) {
      answer->Give(job == nullptr
                       ? NoSuchJob(job_id)
                       : absl::FailedPreconditionError(absl::StrCat("job ", job_id, " has ended")));
      return;
    }
    round.first.push_back(store::FarmStore::SetPaused(epoch_, job_id, paused));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::SetPriority(const std::string& job_id, int32_t priority, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (!farm_->SetPriority(job_id, priority)) return answer->Give(NoSuchJob(job_id));
    round.first.push_back(store::FarmStore::SetPriority(epoch_, job_id, priority));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

// What has failed is known whole to Redis alone: once it has forgotten the failures, the job is
// read back.
void FarmLoop::RetryFailed(const std::string& job_id, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status may = MayGoOn(Job(job_id), job_id); !may.ok())
      return answer->Give(std::move(may));
    round.first.push_back(store::FarmStore::Retry(epoch_, job_id));
    round.first_done.push_back([=, this, &round](const store::RedisReply&) {
      const auto stored = store_->LoadJob(job_id);
      if (stored.ok()) {
        farm_->Retry(*stored, round.now_ms);
      } else {
        redis_run_.clear();  // the next round reads everything
      }
    });
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::PutToken(const v1::StoredToken& token, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    round.first.push_back(store::FarmStore::PutToken(epoch_, token));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([=, this] {
      options_.tokens->Put(token);
      answer->Give(absl::OkStatus());
    });
  });
}

void FarmLoop::Explain(const v1::ExplainRequest& request,
                       std::function<void(absl::StatusOr<std::string>)> done) {
  auto answer = std::make_shared<Answer<absl::StatusOr<std::string>>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status fine = CheckSubject(request); !fine.ok()) return answer->Give(fine);
    switch (request.subject_case()) {
      case v1::ExplainRequest::kJobId:
        return answer->Give(farm_->ExplainJob(request.job_id(), round.now_ms));
      case v1::ExplainRequest::kVariant:
        return answer->Give(farm_->ExplainVariant(request.variant().job_id(),
                                                  request.variant().index(), round.now_ms));
      case v1::ExplainRequest::kWorkerId:
        return answer->Give(farm_->ExplainWorker(request.worker_id(), round.now_ms));
      default:
        answer->Give(absl::InvalidArgumentError("name a job, a variant or a worker"));
    }
  });
}

void FarmLoop::Watch(const std::string& job_id, JobWatcher watcher, Done end) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(end));
  Post([=, this](Round&) {
    const auto view = Job(job_id);
    if (view == nullptr) {
      answer->Give(NoSuchJob(job_id));
      return;
    }
    Done end = answer->Take();
    if (watcher(*view) && view->ended_unix_ms() == 0)
      watchers_.emplace(job_id, Watcher{watcher, std::move(end)});
  });
}

}  // namespace tiltshift::scheduler
