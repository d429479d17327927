// tiltshift-worker: takes leases from a scheduler, renders their variants, puts the pictures into
// the blob store.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_split.h"
#include "base/disk.h"
#include "base/hash.h"
#include "base/log_flags.h"
#include "engine/device.h"
#include "engine/pack/weight_cache.h"
#include "moderation/moderator_flags.h"
#include "monitoring/card_watch.h"
#include "monitoring/metrics.h"
#include "proto/channel.h"
#include "proto/identity_flags.h"
#include "proto/leader.h"
#include "proto/protocol.h"
#include "provenance/signer.h"
#include "store/blob_flags.h"
#include "store/observed_blob_store.h"
#include "worker/describe_models.h"
#include "worker/session.h"
#include "worker/slots.h"

namespace tiltshift::worker {
namespace {

volatile std::sig_atomic_t g_stop = 0;

struct Options {
  std::string schedulers = "127.0.0.1:7070";
  IdentityOptions identity;
  store::BlobOptions blobs;
  std::string metrics, name;
  std::string render = "engine";
  std::string precision = "auto";
  std::string device = "auto";
  LogOptions log;
  std::string models = "models";
  std::string weight_cache = engine::DefaultWeightCacheFolder();
  std::string signing_cert, signing_key;
  moderation::ModeratorOptions moderator;
  uint64_t weight_cache_gb = 32;
  bool describe = false;
  std::vector<std::string> described;  // empty: all
  uint64_t keep_free_mb = 64, memory_mb = 0;
  int slots = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

constexpr char kExamples[] =
    "Examples:\n"
    "  tiltshift-worker --blobs /srv/tiltshift --models models\n"
    "  tiltshift-worker --scheduler farm-a:7070,farm-b:7070 --blobs /mnt/blobs --slots 8 --metrics "
    "127.0.0.1:9101\n"
    "      --token-file worker.token --tls-ca farm-ca.crt --tls-cert worker.crt --tls-key "
    "worker.key\n";

void AddOptions(CLI::App& app, Options& options) {
  app.footer(kExamples);
  app.add_option("--scheduler", options.schedulers,
                 "host:port or unix:PATH; several, with commas: the one that leads is found")
      ->capture_default_str();
  AddIdentityFlags(app, options.identity);
  store::AddBlobFlags(app, "the scheduler's blob store", options.blobs);
  app.add_option("--keep-free", options.keep_free_mb,
                 "megabytes of the blob folder's disk that are left free: the worker ends before")
      ->capture_default_str();
  app.add_option("--models", options.models, "folder with a diffusers directory a model")
      ->capture_default_str();
  app.add_option(
         "--weight-cache", options.weight_cache,
         "folder that keeps packed weights, so that a later start needs not pack and the workers "
         "of a machine share them; none: each packs for itself")
      ->capture_default_str();
  app.add_option("--weight-cache-gb", options.weight_cache_gb,
                 "gigabytes it may hold; the weights used longest ago go first")
      ->capture_default_str();
  CLI::Option* key =
      app.add_option(
             "--signing-key", options.signing_key,
             "its private key, PEM, of Ed25519; the same file will do. The farm's workers must "
             "have the same one")
          ->envname("TILTSHIFT_SIGNING_KEY");
  CLI::Option* certificate =
      app.add_option("--signing-cert", options.signing_cert,
                     "certificate, PEM, that pictures' content credentials are signed with; those "
                     "between it and its CA after it. None: pictures carry no credentials")
          ->envname("TILTSHIFT_SIGNING_CERT")
          ->needs(key);
  key->needs(certificate);
  moderation::AddModeratorFlags(app, "prompts and pictures", options.moderator);
  CLI::Option* describe = app.add_flag_callback(
      "--describe-models",
      [&app, &options] {
        options.describe = true;
        app.get_option("--blobs")->required(false);
      },
      "only print what is in the model folder, checked, as a line of JSON (proto/models.proto)");
  app.add_option("--model", options.described, "of these models alone; may be repeated")
      ->needs(describe);
  app.add_option("--memory-mb", options.memory_mb,
                 "memory for models and pictures; jobs that need more are not given; default: the "
                 "machine's");
  app.add_option("--slots", options.slots, "variants rendered at once, a thread each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--precision", options.precision, "auto (what the job says) or fp32 (always)")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "fp32"}));
  app.add_option("--device", options.device,
                 "cpu, cuda, or auto: the card where one is, else the processor")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--metrics", options.metrics,
                 "host:port of the loopback for Prometheus' /metrics; empty: none");
  app.add_option("--name", options.name, "what this worker is called; default: the host's name");
  app.add_option("--render", options.render,
                 "engine, or noop: a 1x1 picture a variant, to test a farm without rendering")
      ->capture_default_str()
      ->check(CLI::IsMember({"engine", "noop"}));
  AddLogFlags(app, options.log);
}

std::string WorkerName(const Options& options) {
  char host[64] = "worker";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(options.name.empty() ? host : options.name, "-", getpid(), "-", RandomHex(3));
}

engine::Device ToDevice(const std::string& name) {
  if (name == "cuda") return engine::Device::kCuda;
  return name == "cpu" ? engine::Device::kCpu : engine::Device::kAuto;
}

monitoring::CardWatchOptions CardOptions() {
  monitoring::CardWatchOptions options;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) options.visible_devices = visible;
  options.log = [](const std::string& line) { spdlog::info("{}", line); };
  return options;
}

v1::DeviceStatus ToProto(const monitoring::CardReading& reading) {
  v1::DeviceStatus status;
  status.set_utilization(reading.utilization.value_or(0));
  status.set_memory_used_mb(reading.memory_used_bytes.value_or(0) / 1'000'000);
  status.set_memory_mb(reading.memory_bytes.value_or(0) / 1'000'000);
  status.set_power_watts(reading.power_watts.value_or(0));
  status.set_temperature_celsius(reading.temperature_celsius.value_or(0));
  return status;
}

uint64_t MachineMemoryMb() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 1'000'000;
}

// Null: pictures are not signed.
absl::StatusOr<std::shared_ptr<const provenance::Signer>> OpenSigner(const Options& options) {
  if (options.signing_cert.empty()) {
    spdlog::info("pictures carry no content credentials: --signing-cert would sign them");
    return nullptr;
  }
  auto signer = provenance::Signer::Load(options.signing_cert, options.signing_key);
  if (!signer.ok()) return Annotate(signer.status(), "--signing-cert and --signing-key");
  return signer;
}

// Null: each start packs anew.
std::shared_ptr<engine::WeightCache> OpenWeightCache(const Options& options) {
  if (options.weight_cache.empty() || options.weight_cache == "none") return nullptr;
  return std::make_shared<engine::WeightCache>(engine::WeightCacheOptions{
      .folder = options.weight_cache,
      .most_bytes = options.weight_cache_gb * 1'000'000'000,
      .log = [](const std::string& line) { spdlog::info("weight cache: {}", line); }});
}

absl::Status Serve(const Options& options) {
  TS_RETURN_IF_ERROR(CheckMetricsAddress(options.metrics));
  TS_ASSIGN_OR_RETURN(const Identity identity, Identity::Load(options.identity));
  const rlimit no_core{0, 0};  // that could hold a photo
  setrlimit(RLIMIT_CORE, &no_core);
  store::BlobOptions blob_options = options.blobs;
  blob_options.keep_free = options.keep_free_mb * 1'000'000;
  TS_ASSIGN_OR_RETURN(auto opened, store::OpenBlobStore(blob_options));
  // Not before: a signal ends a process that still looks for its blob store.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { g_stop = 1; });
  monitoring::Registry registry;
  if (!options.metrics.empty()) TS_RETURN_IF_ERROR(registry.Serve(options.metrics));

  SessionOptions session_options;
  session_options.schedulers = SplitAddresses(options.schedulers);
  if (session_options.schedulers.empty())
    return absl::InvalidArgumentError("--scheduler: no address");
  session_options.identity = identity;
  session_options.want_leases = static_cast<uint32_t>(options.slots) + 1;
  v1::Hello& hello = session_options.hello;
  hello.set_worker_id(WorkerName(options));
  SetLogWorker(hello.worker_id());
  const bool engine = options.render == "engine";
  TS_ASSIGN_OR_RETURN(
      const engine::DeviceInfo device,
      engine::ChooseDevice(engine ? ToDevice(options.device) : engine::Device::kCpu));
  const bool on_card = device.device == engine::Device::kCuda;
  monitoring::WorkerMetrics metrics(registry, on_card ? "cuda" : "cpu");
  const auto blobs = store::Observed(std::move(opened),
                                     [&metrics](auto... call) { metrics.blobs.Observe(call...); });
  const monitoring::CardWatch card(registry, CardOptions());
  hello.set_device(
      absl::StrCat(device.name, ", ", options.slots, " slots", engine ? "" : ", renders nothing"));
  hello.set_slots(static_cast<uint32_t>(options.slots));
  hello.set_protocol(kOldestProtocol);
  hello.set_newest_protocol(kProtocol);
  hello.set_device_kind(on_card ? "cuda" : "cpu");
  const uint64_t there_mb = on_card ? device.memory_bytes / 1'000'000 : MachineMemoryMb();
  hello.set_memory_mb(options.memory_mb != 0 ? options.memory_mb : there_mb);
  TS_ASSIGN_OR_RETURN(const auto signer, OpenSigner(options));
  TS_ASSIGN_OR_RETURN(const auto moderator, moderation::OpenModerator(options.moderator));
  const auto renderers =
      engine ? MakeEngineRenderers({options.models, options.precision == "fp32", device.device,
                                    OpenWeightCache(options), signer})
             : MakeNoopRenderers(signer);
  TS_ASSIGN_OR_RETURN(const auto models, renderers->Models());
  for (const v1::ModelInfo& model : models) {
    *hello.add_models() = model;
    if (model.problem().empty())
      spdlog::info("renders {} as {}", model.name(), model.render_class());
  }
  for (const v1::BesideInfo& lora : renderers->Loras()) *hello.add_loras() = lora;
  for (const v1::BesideInfo& control : renderers->Controls()) *hello.add_controls() = control;
  std::atomic<const Slots*> at_work{nullptr};
  session_options.tell = [&](v1::Heartbeat& heartbeat) {
    for (const std::string& model : renderers->Loaded()) heartbeat.add_loaded_models(model);
    const Slots* slots = at_work;
    if (slots != nullptr) heartbeat.set_slots_busy(slots->busy());
    if (const auto reading = card.Latest()) *heartbeat.mutable_device_status() = ToProto(*reading);
  };

  LeaseQueue queue;
  Session session(session_options, queue);
  PhotoReader photos(*blobs, hello.worker_id(),
                     [&session](const auto& request) { return session.OpenPhoto(request); });
  Slots slots(options.slots, *renderers, queue, *blobs, metrics, hello.worker_id(), &photos,
              moderator.get());
  at_work = &slots;
  std::thread watcher([&] {
    while (g_stop == 0 && slots.trouble().ok()) {
      slots.MeasureRate();
      metrics.connected.Set(session.connected());
      usleep(50'000);
    }
    spdlog::info("draining: renders stop at their next step");
    session.Drain();
  });
  session.Run();
  g_stop = 1;
  watcher.join();
  TS_RETURN_IF_ERROR(slots.trouble());
  spdlog::info("stopped");
  return absl::OkStatus();
}

absl::Status Describe(const Options& options) {
  TS_ASSIGN_OR_RETURN(const v1::ModelFolder folder,
                      DescribeModels(options.models, options.described, OpenWeightCache(options)));
  std::printf("%s\n", DescriptionJson(folder).c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace tiltshift::worker

int main(int argc, char** argv) {
  using namespace tiltshift::worker;
  CLI::App app{
      "Takes leases from a scheduler, renders their variants, puts the pictures into the blob "
      "store.",
      "tiltshift-worker"};
  Options options;
  AddOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  tiltshift::StartLog(options.log);
  if (options.describe) {
    const absl::Status described = Describe(options);
    if (described.ok()) return 0;
    std::fprintf(stderr, "tiltshift-worker: %s\n", tiltshift::Message(described).c_str());
    return 1;
  }
  const absl::Status status = Serve(options);
  if (status.ok()) return 0;
  spdlog::error("{}", tiltshift::Message(status));
  return 1;
}
