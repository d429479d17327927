#include "tests/support/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::string& folder) {
  static std::atomic<int> counter{0};
  const std::string stem = folder + "/process" + std::to_string(counter++);
  output_ = stem + ".out";
  errors_ = stem + ".err";
  std::vector<char*> words;
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const int out = open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int err = open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execvp(words[0], words.data());
    _exit(127);
  }
  close(out);
  close(err);
}

Process::~Process() {
  if (Running()) {
    Signal(SIGKILL);
    Wait(10'000);
  }
}

void Process::Signal(int signal) const { kill(pid_, signal); }

bool Process::Running() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return !ended_;
}

int Process::Wait(int timeout_ms) {
  if (!WaitFor([&] { return !Running(); }, timeout_ms)) return -1;
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string Process::Output() const { return ReadAll(output_); }
std::string Process::Errors() const { return ReadAll(errors_); }

pid_t Process::ChildCalled(const std::string& name) const {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = ReadAll("/proc/" + pid + "/stat");  // pid (name) state ppid ...
    const size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 4 > stat.size())
      continue;
    const bool zombie = stat[close + 2] == 'Z';
    if (std::atoi(stat.c_str() + close + 4) == pid_ && !zombie &&
        stat.compare(open + 1, name.size(), name) == 0)
      return std::stoi(pid);
  }
  return 0;
}

std::string Program(const std::string& name) {
  return std::string(TILTSHIFT_BINARY_DIR) + "/bin/" + name;
}

std::string FreshFolder() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const fs::path folder =
      fs::path(::testing::TempDir()) / ("tiltshift-" + std::to_string(getpid()) + "-" +
                                        test->test_suite_name() + "." + test->name());
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder.string();
}

}  // namespace tiltshift::tests
