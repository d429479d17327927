#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "moderation/moderator.h"

extern char** environ;

namespace tiltshift::moderation {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostAnswerBytes = 4'096;
constexpr int kAllowed = 0, kVetoed = 1;
constexpr auto kLook = std::chrono::milliseconds(2);

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) ends_[0] = ends_[1] = -1;
  }
  ~Pipe() {
    Close(0);
    Close(1);
  }
  int operator[](int end) const { return ends_[end]; }
  void Close(int end) {
    if (ends_[end] >= 0) close(ends_[end]);
    ends_[end] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

const char* NameOf(v1::ReviewKind kind) {
  if (kind == v1::REVIEW_KIND_PHOTO) return "photo";
  return kind == v1::REVIEW_KIND_OUTPUT ? "output" : "prompt";
}

// In a process group of its own, so that it ends with all that it started.
pid_t Spawn(const std::string& command, const v1::ReviewRequest& request, const Pipe& in,
            const Pipe& out) {
  std::vector<std::string> more = {absl::StrCat("TILTSHIFT_REVIEW=", NameOf(request.kind())),
                                   absl::StrCat("TILTSHIFT_JOB=", request.job()),
                                   absl::StrCat("TILTSHIFT_TENANT=", request.tenant()),
                                   absl::StrCat("TILTSHIFT_ENTRY=", request.entry())};
  std::vector<char*> environment;
  for (char** at = environ; *at != nullptr; ++at) environment.push_back(*at);
  for (std::string& variable : more) environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::string shell = "/bin/sh", flag = "-c", words = command;
  char* arguments[] = {shell.data(), flag.data(), words.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  if (posix_spawn(&pid, shell.c_str(), &actions, &attributes, arguments, environment.data()) != 0)
    pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return pid;
}

int MillisecondsUntil(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return std::max(0, static_cast<int>(left.count()));
}

// Hands it `content` and takes its answer until it has closed its output; false when time is up. A
// command that does not read to the end is left alone with that.
bool Talk(Pipe& in, Pipe& out, std::string_view content, Clock::time_point deadline,
          std::string& answer) {
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  fcntl(out[0], F_SETFL, O_NONBLOCK);
  while (MillisecondsUntil(deadline) > 0) {
    if (content.empty()) in.Close(1);
    pollfd waits[] = {{in[1], POLLOUT, 0}, {out[0], POLLIN, 0}};
    poll(waits, 2, MillisecondsUntil(deadline));
    if (waits[0].revents != 0) {
      const ssize_t sent = write(in[1], content.data(), content.size());
      if (sent > 0) content.remove_prefix(static_cast<size_t>(sent));
      if (sent < 0 && errno != EAGAIN && errno != EINTR) content = {};
    }
    if (waits[1].revents == 0) continue;
    char block[1'024];
    const ssize_t got = read(out[0], block, sizeof(block));
    if (got == 0) return true;
    if (got > 0 && answer.size() < kMostAnswerBytes) answer.append(block, static_cast<size_t>(got));
  }
  return false;
}

// Its exit code; -1 where it was killed or is not done in time.
int ExitCode(pid_t pid, Clock::time_point deadline) {
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (MillisecondsUntil(deadline) == 0) {
      kill(-pid, SIGKILL);
      waitpid(pid, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(kLook);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class CommandModerator : public Moderator {
 public:
  CommandModerator(const std::string& command, int timeout_ms)
      : command_(command), timeout_ms_(timeout_ms) {
    signal(SIGPIPE, SIG_IGN);  // a command that does not read is none of a process' end
  }

  absl::Status Review(const v1::ReviewRequest& request) override {
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms_);
    Pipe in, out;
    const pid_t pid = in[0] < 0 || out[0] < 0 ? -1 : Spawn(command_, request, in, out);
    if (pid < 0) return absl::UnavailableError(absl::StrCat(command_, ": cannot be started"));
    in.Close(0);
    out.Close(1);
    std::string answer;
    const bool in_time =
        Talk(in, out, request.kind() == v1::REVIEW_KIND_PROMPT ? request.text() : request.picture(),
             deadline, answer);
    in.Close(1);
    const int code = ExitCode(pid, deadline);
    if (!in_time || (code < 0 && MillisecondsUntil(deadline) == 0))
      return absl::UnavailableError(absl::StrCat(command_, ": no answer in ", timeout_ms_, " ms"));
    if (code == kAllowed) return absl::OkStatus();
    if (code != kVetoed)
      return absl::UnavailableError(
          absl::StrCat(command_, ": exit code ", code, " is neither 0, allowed, nor 1, vetoed"));
    const std::string reason = answer.substr(0, answer.find('\n'));
    return absl::PermissionDeniedError(reason.empty() ? "no reason given" : reason);
  }

 private:
  const std::string command_;
  const int timeout_ms_;
};

}  // namespace

std::unique_ptr<Moderator> MakeCommandModerator(const std::string& command, int timeout_ms) {
  return std::make_unique<CommandModerator>(command, timeout_ms);
}

}  // namespace tiltshift::moderation
