#include "cli/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace tiltshift::cli {
namespace {

constexpr int kExecFailed = 127;

// In the child: only what is safe after fork.
[[noreturn]] void Become(char* const* arguments, char* const* environment, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(kExecFailed);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& arguments,
                                                 const std::string& log,
                                                 const std::vector<std::string>& environment) {
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", log);
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  for (const std::string& variable : environment)
    variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Become(words.data(), variables.data(), fd, parent);
  close(fd);
  if (pid < 0) return ErrnoStatus(errno, "cannot start", arguments[0]);
  return ChildProcess(pid);
}

bool ChildProcess::Ended(std::string& how) {
  if (ended_) return true;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
  ended_ = true;
  if (WIFSIGNALED(status)) {
    how = absl::StrCat("signal ", WTERMSIG(status));
  } else if (WEXITSTATUS(status) == kExecFailed) {
    how = "it could not be started; is it installed? (scripts/setup installs what is missing)";
  } else {
    how = absl::StrCat("exit code ", WEXITSTATUS(status));
  }
  return true;
}

void ChildProcess::Stop(int patience_ms) {
  std::string how;
  if (Ended(how)) return;
  kill(pid_, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (!Ended(how)) {
    if (std::chrono::steady_clock::now() > deadline) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace tiltshift::cli
