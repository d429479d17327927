#include "gallery/live.h"

#include <atomic>

namespace tiltshift::gallery {
namespace {

constexpr int kEveryMs = 1'000;
constexpr int kSilentMs = 10'000;  // then a word is sent, so that both ends know of each other
constexpr int kMostStreams = 128;  // half of the server's connections

// Counts the streams that are open.
class Seat {
 public:
  Seat() : taken_(open_.fetch_add(1) < kMostStreams) {}
  ~Seat() { open_.fetch_sub(1); }
  bool taken() const { return taken_; }

 private:
  static inline std::atomic<int> open_{0};
  const bool taken_;
};

bool Send(HttpWriter& out, const char* event, const std::string& json) {
  return out.Write(absl::StrCat("event: ", event, "\ndata: ", json, "\n\n"));
}

// False: the stream is to end.
bool SendError(HttpWriter& out, const absl::Status& status) {
  if (absl::IsUnauthenticated(status)) {
    Send(out, "gone", "{}");
    return false;
  }
  return Send(out, "trouble", ErrorResponse(status).body) && absl::IsUnavailable(status);
}

HttpResponse Events(std::function<void(HttpWriter&)> events) {
  auto seat = std::make_shared<Seat>();
  if (!seat->taken()) {
    return ErrorResponse(
        absl::UnavailableError("too many are watching; this page asks again by itself"));
  }
  HttpResponse response;
  response.headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}};
  response.stream = [seat, events = std::move(events)](HttpWriter& out) {
    if (out.Write("retry: 2000\n\n")) events(out);
    return true;
  };
  return response;
}

// What `ask` answers, whenever it has changed.
template <typename Ask>
void Poll(HttpWriter& out, const char* event, const Ask& ask) {
  std::string last;
  int silent_ms = 0;
  do {
    const auto answer = ask();
    if (!answer.ok()) {
      if (!SendError(out, answer.status())) return;
      last.clear();
    } else if (std::string json = JsonOf(*answer); json != last) {
      if (!Send(out, event, json)) return;
      last = std::move(json);
      silent_ms = 0;
    } else if ((silent_ms += kEveryMs) >= kSilentMs) {
      if (!out.Write(":\n\n")) return;
      silent_ms = 0;
    }
  } while (out.Pause(kEveryMs));
}

}  // namespace

HttpResponse LiveJobs(const ApiCall& call) {
  v1::ListJobsRequest request;
  request.set_tenant(call.request.Query("tenant"));
  return Events([farm = call.farm, request](HttpWriter& out) {
    Poll(out, "jobs", [&] { return farm->Call(&v1::Farm::Stub::ListJobs, request); });
  });
}

HttpResponse LiveWorkers(const ApiCall& call) {
  return Events([farm = call.farm](HttpWriter& out) {
    Poll(out, "workers",
         [&] { return farm->Call(&v1::Farm::Stub::ListWorkers, v1::ListWorkersRequest()); });
  });
}

HttpResponse LiveJob(const ApiCall& call) {
  return Events([farm = call.farm, id = call.path[1]](HttpWriter& out) {
    for (;;) {
      const absl::Status watched = farm->WatchJob(id, [&](const v1::Job& whole) {
        v1::Job job = whole;
        job.clear_spec();
        job.mutable_spec()->set_name(whole.spec().name());
        job.mutable_spec()->set_tenant(whole.spec().tenant());
        return Send(out, "job", JsonOf(job)) && out.Pause(0);
      });
      if (watched.ok()) {
        Send(out, "end", "{}");
        return;
      }
      if (!SendError(out, watched) || !out.Pause(kEveryMs)) return;
    }
  });
}

}  // namespace tiltshift::gallery
