#include "cli/local_farm.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/program.h"
#include "cli/child_process.h"
#include "seal/farm_key.h"

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr int kMostDeathsInARow = 5;  // without having lived kLivedWell
constexpr auto kLivedWell = std::chrono::seconds(20);
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kLockPatience = std::chrono::seconds(3);
constexpr int kWorkerPatienceMs = 60'000;  // it finishes the variants it renders
constexpr int kPatienceMs = 5'000;
constexpr int kHopelessPatienceMs = 1'000;

std::string LastLine(const std::string& log) {
  const auto text = ReadFile(log);
  if (!text.ok()) return "";
  const size_t end = text->find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const size_t start = text->find_last_of('\n', end);
  return text->substr(start == std::string::npos ? 0 : start + 1,
                      end - (start == std::string::npos ? 0 : start + 1) + 1);
}

constexpr char kFarmKeyVariable[] = "TILTSHIFT_RENDER_FARM_KEY";

}  // namespace

struct LocalFarm::Child {
  std::string name;
  std::vector<std::string> environment;  // "NAME=value", beside our own
  std::vector<std::string> arguments;
  std::string log;
  int patience_ms = kPatienceMs;
  std::optional<ChildProcess> process;
  SteadyClock::time_point started, start_at;
  int deaths = 0;
};

LocalFarm::LocalFarm(LocalFarmOptions options) : options_(std::move(options)) {}

std::string LocalFarm::scheduler_address() const { return "unix:" + sockets_.scheduler(); }
std::string LocalFarm::blobs() const { return options_.folder + "/blobs"; }

absl::StatusOr<std::unique_ptr<LocalFarm>> LocalFarm::Start(const LocalFarmOptions& options) {
  std::unique_ptr<LocalFarm> farm(new LocalFarm(options));
  TS_RETURN_IF_ERROR(farm->Prepare());
  // One thread starts every child and lives as long as they do: the kernel ties them to it.
  farm->supervisor_ = std::thread([raw = farm.get()] { raw->Supervise(); });
  return farm;
}

// The children inherit the lock: those of a farm that was killed may live for a moment longer, and
// must not write to the files of the next one.
absl::Status LocalFarm::Lock() {
  const std::string lock = options_.folder + "/lock";
  lock_fd_ = open(lock.c_str(), O_RDWR | O_CREAT, 0644);
  if (lock_fd_ < 0) return ErrnoStatus(errno, "cannot open", lock);
  const auto deadline = SteadyClock::now() + kLockPatience;
  while (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (SteadyClock::now() > deadline) {
      return absl::AlreadyExistsError(absl::StrCat("another `tiltshift render` works in ",
                                                   options_.folder,
                                                   "; wait for it, or choose another --out"));
    }
    std::this_thread::sleep_for(kLook);
  }
  return absl::OkStatus();
}

absl::Status LocalFarm::Prepare() {
  for (const char* part : {"/redis", "/blobs", "/logs"})
    TS_RETURN_IF_ERROR(MakeFolders(options_.folder + part));
  TS_RETURN_IF_ERROR(Lock());
  TS_ASSIGN_OR_RETURN(sockets_, SocketFolder::Make());
  // They are another farm's: this one's processes ask for none, or are told.
  for (const char* name :
       {"TILTSHIFT_REDIS_USER", "TILTSHIFT_REDIS_PASSWORD", "TILTSHIFT_SIGNING_CERT",
        "TILTSHIFT_SIGNING_KEY", "TILTSHIFT_TOKEN", "TILTSHIFT_TOKEN_FILE", "TILTSHIFT_TLS_CA",
        "TILTSHIFT_TLS_CERT", "TILTSHIFT_TLS_KEY"})
    unsetenv(name);
  const std::string redis = sockets_.redis();
  // From the root on: a folder whatever its name, never an address of a store elsewhere.
  const std::string blob_folder = fs::absolute(blobs()).string();
  auto add = [&](const std::string& name, std::vector<std::string> arguments, int patience_ms) {
    auto child = std::make_unique<Child>();
    child->name = name;
    child->arguments = std::move(arguments);
    child->log = absl::StrCat(options_.folder, "/logs/", name, ".log");
    child->patience_ms = patience_ms;
    children_.push_back(std::move(child));
  };
  add("redis-server",
      {"redis-server", "--port", "0", "--unixsocket", redis, "--unixsocketperm", "700", "--dir",
       fs::absolute(options_.folder + "/redis").string(), "--appendonly", "yes", "--appendfsync",
       "everysec", "--save", ""},
      kPatienceMs);
  add("tiltshift-scheduler",
      {ProgramBeside("tiltshift-scheduler"), "--listen", scheduler_address(), "--redis",
       "unix:" + redis, "--blobs", blob_folder, "--lease-ttl-ms", "5000", "--heartbeat-ms", "1000",
       "--leader-ttl-ms", "1500"},
      kPatienceMs);
  if (!options_.gallery.empty()) {
    auto& scheduler = children_.back()->arguments;
    scheduler.insert(scheduler.end(), {"--gallery", options_.gallery});
  }
  if (options_.takes_photos) {
    Child& scheduler = *children_.back();
    scheduler.arguments.insert(scheduler.arguments.end(),
                               {"--farm-key", absl::StrCat("env:", kFarmKeyVariable)});
    scheduler.environment = {absl::StrCat(kFarmKeyVariable, "=", seal::FarmKey::RandomHexKey())};
  }
  add("tiltshift-worker",
      {ProgramBeside("tiltshift-worker"), "--scheduler", scheduler_address(), "--token-file",
       "none", "--blobs", blob_folder, "--models", options_.models, "--slots",
       std::to_string(options_.slots), "--keep-free", std::to_string(options_.keep_free_mb),
       "--render", options_.render, "--device", options_.device, "--metrics", options_.metrics},
      kWorkerPatienceMs);
  if (!options_.signing_cert.empty()) {
    auto& worker = children_.back()->arguments;
    worker.insert(worker.end(),
                  {"--signing-cert", options_.signing_cert, "--signing-key", options_.signing_key});
  }
  return absl::OkStatus();
}

void LocalFarm::Supervise() {
  while (!stopping_) {
    for (auto& child : children_) Look(*child);
    std::this_thread::sleep_for(kLook);
  }
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if ((*child)->process.has_value())
      (*child)->process->Stop(hopeless_ ? kHopelessPatienceMs : (*child)->patience_ms);
  }
}

void LocalFarm::Look(Child& child) {
  const auto now = SteadyClock::now();
  if (!child.process.has_value()) {
    if (now < child.start_at || child.deaths >= kMostDeathsInARow) return;
    auto started = ChildProcess::Start(child.arguments, child.log, child.environment);
    std::lock_guard lock(mutex_);
    if (!started.ok()) {
      status_ = started.status();
      child.deaths = kMostDeathsInARow;
      return;
    }
    child.process = *started;
    child.started = now;
    return;
  }
  std::string how;
  if (!child.process->Ended(how)) return;
  child.process.reset();
  child.deaths = now - child.started > kLivedWell ? 1 : child.deaths + 1;
  child.start_at = now + std::chrono::milliseconds(100 * child.deaths);
  std::lock_guard lock(mutex_);
  if (child.deaths < kMostDeathsInARow) {
    news_.push_back(absl::StrCat(child.name, " ended (", how, "); starting it again"));
  } else {
    status_ = absl::InternalError(absl::StrCat(child.name, " ended ", child.deaths,
                                               " times in a row (", how, "). The last line of ",
                                               child.log, ": ", LastLine(child.log)));
  }
}

absl::Status LocalFarm::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

std::vector<std::string> LocalFarm::TakeNews() {
  std::lock_guard lock(mutex_);
  return std::exchange(news_, {});
}

LocalFarm::~LocalFarm() {
  stopping_ = true;
  if (supervisor_.joinable()) supervisor_.join();
  if (lock_fd_ >= 0) close(lock_fd_);
}

}  // namespace tiltshift::cli
