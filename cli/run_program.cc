#include "cli/run_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

extern char** environ;

namespace tiltshift::cli {
namespace {

// Until the other end is closed.
std::string ReadAll(int fd) {
  std::string all;
  char bytes[1 << 16];
  for (;;) {
    const ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return all;
    all.append(bytes, static_cast<size_t>(got));
  }
}

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return ErrnoStatus(errno, "cannot make a pipe for", arguments[0]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  if (failed == 0) output = ReadAll(ends[0]);
  close(ends[0]);
  if (failed != 0) return ErrnoStatus(failed, "cannot start", arguments[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  return absl::InternalError(absl::StrCat(
      arguments[0], WIFSIGNALED(status) ? " was ended by signal " : " ended with exit code ",
      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
}

}  // namespace tiltshift::cli
