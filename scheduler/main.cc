// tiltshift-scheduler: plans jobs, leases them to workers, keeps their progress in Redis.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "access/gate.h"
#include "base/hash.h"
#include "base/log_flags.h"
#include "gallery/gallery.h"
#include "moderation/moderator_flags.h"
#include "scheduler/farm_service.h"
#include "scheduler/first_token.h"
#include "scheduler/message_checks.h"
#include "scheduler/photo_warden.h"
#include "scheduler/picture_service.h"
#include "scheduler/rebuild.h"
#include "scheduler/scaler_service.h"
#include "scheduler/security.h"
#include "scheduler/standard_services.h"
#include "scheduler/tenants.h"
#include "scheduler/token_service.h"
#include "scheduler/worker_service.h"
#include "store/blob_flags.h"
#include "store/observed_blob_store.h"

namespace tiltshift::scheduler {
namespace {

volatile std::sig_atomic_t g_stop = 0, g_reopen = 0;

struct Options {
  std::string listen = "127.0.0.1:7070";
  std::string advertise;
  std::string redis = "127.0.0.1:6379";
  store::RedisTls redis_tls;
  store::BlobOptions blobs;
  moderation::ModeratorOptions moderator;
  std::string tenants;
  std::string farm_key;
  SecurityOptions security;
  std::string metrics;
  std::string gallery, gallery_url;
  LogOptions log;
  std::string farm_cpus, client_cpus;
  int lease_seconds = 30;
  bool rebuild = false;
  LoopOptions loop;
};

constexpr char kExamples[] =
    "Examples:\n"
    "  tiltshift-scheduler --blobs /srv/tiltshift\n"
    "  tiltshift-scheduler --listen unix:/run/farm.sock --redis unix:/run/redis.sock --blobs blobs "
    "--metrics 127.0.0.1:9100\n"
    "  tiltshift-scheduler --blobs s3://farm/blobs --s3-endpoint http://127.0.0.1:9000\n"
    "  tiltshift-scheduler --listen 0.0.0.0:7070 --advertise farm-a:7070 --auth on --first-token "
    "/root/farm.token\n"
    "      --tls-cert farm.crt --tls-key farm.key --tls-client-ca workers-ca.crt --audit-log "
    "/var/log/tiltshift/audit.log --blobs /srv/tiltshift\n"
    "Several on one Redis: one leads, the others stand by and take over within seconds.\n";

void AddOptions(CLI::App& app, Options& options) {
  app.footer(kExamples);
  app.add_option("--listen", options.listen,
                 "host:port or unix:PATH to serve on; beyond loopback with --auth on and TLS")
      ->capture_default_str();
  app.add_option("--advertise", options.advertise,
                 "where clients and workers reach this scheduler, told to them by those that do "
                 "not lead; default: what --listen says");
  app.add_option(
         "--redis", options.redis,
         "host:port, unix:PATH or redis://user:password@host:port/database of a Redis 6 or "
         "newer; rediss://... in TLS; sentinel://host:port,host:port/master by its sentinels; user "
         "and password also from TILTSHIFT_REDIS_USER, TILTSHIFT_REDIS_PASSWORD")
      ->envname("TILTSHIFT_REDIS")
      ->capture_default_str();
  app.add_option("--redis-ca", options.redis_tls.ca_file,
                 "file of the CA that signed Redis' certificate; default: the system's CAs")
      ->envname("TILTSHIFT_REDIS_CA");
  auto* cert = app.add_option("--redis-cert", options.redis_tls.cert_file,
                              "file of our own certificate, where Redis asks for one")
                   ->envname("TILTSHIFT_REDIS_CERT");
  auto* key = app.add_option("--redis-key", options.redis_tls.key_file, "file of its private key")
                  ->envname("TILTSHIFT_REDIS_KEY");
  cert->needs(key);
  key->needs(cert);
  AddSecurityFlags(app, options.security);
  store::AddBlobFlags(app, "blob store of submissions, outputs and manifests", options.blobs);
  moderation::AddModeratorFlags(app, "submissions", options.moderator);
  app.add_option("--metrics", options.metrics,
                 "host:port of the loopback for Prometheus' /metrics; empty: none");
  app.add_option(
      "--gallery", options.gallery,
      "host:port to show the farm to browsers on (docs/gallery.md); beyond loopback with "
      "--auth on and TLS; empty: none");
  app.add_option("--gallery-url", options.gallery_url,
                 "where browsers reach that gallery, told to them by schedulers that do not lead; "
                 "default: made of --gallery, and of --advertise where that names no machine");
  app.add_option("--lease-ttl-ms", options.loop.farm.lease_ttl_ms,
                 "a lease that no heartbeat names for so long is given to another worker")
      ->capture_default_str()
      ->check(CLI::Range(100, 3'600'000));
  app.add_option("--heartbeat-ms", options.loop.heartbeat_ms,
                 "how often workers say that they live")
      ->capture_default_str()
      ->check(CLI::Range(10, 600'000));
  app.add_option("--leader-ttl-ms", options.loop.leader_ttl_ms,
                 "another scheduler may lead when this one was silent for so long")
      ->capture_default_str()
      ->check(CLI::Range(100, 600'000));
  app.add_option("--lease-seconds", options.lease_seconds, "work that a lease should hold")
      ->capture_default_str()
      ->check(CLI::Range(1, 3'600));
  app.add_option("--farm-cpus", options.farm_cpus,
                 "processors for the thread that plans, like 0 or 2-3,6; best those of Redis "
                 "(server_cpulist) on a machine of few; default: any");
  app.add_option("--client-cpus", options.client_cpus,
                 "processors for the thread that speaks with clients and workers; default: any");
  app.add_option("--tenants", options.tenants,
                 "YAML file of tenants' weights and bounds; docs/scheduler.md shows one")
      ->check(CLI::ExistingFile);
  app.add_option("--farm-key", options.farm_key,
                 "where the key is that photos are kept by, 64 hex digits: file:PATH, env:NAME or "
                 "command:CMD; without one no photos are taken; docs/photos.md");
  app.add_flag("--rebuild", options.rebuild,
               "restore an empty Redis from the blob store, and end: jobs, and what of them is "
               "stored");
  AddLogFlags(app, options.log);
}

// What is kept of calls, and how often they may come; what is not wanted is null.
struct Watched {
  std::unique_ptr<access::AuditLog> log;
  std::unique_ptr<access::RateLimits> limits;
};

absl::StatusOr<Watched> Watch(const Options& options,
                              const std::map<std::string, TenantRule>& tenants) {
  Watched watched;
  if (!options.security.audit_log.empty()) {
    TS_ASSIGN_OR_RETURN(watched.log, access::AuditLog::Open(options.security.audit_log));
  }
  std::map<std::string, access::RateRule> rates;
  for (const auto& [tenant, rule] : tenants) rates[tenant] = rule.rates;
  if (options.security.asks_callers() && !rates.empty())
    watched.limits = std::make_unique<access::RateLimits>(std::move(rates));
  return watched;
}

access::GateOptions GateOf(const Options& options, const FarmLoop& loop, const Watched& watched,
                           access::TokenBook& tokens) {
  access::GateOptions gate;
  if (options.security.asks_callers()) gate.tokens = &tokens;
  gate.log = watched.log.get();
  gate.limits = watched.limits.get();
  gate.worker_certificates = !options.security.tls_client_ca.empty();
  gate.tenant_of = [&loop](const std::string& id) -> absl::StatusOr<std::string> {
    TS_ASSIGN_OR_RETURN(const JobView job, loop.FindJob(id));
    return job->spec().tenant();
  };
  gate.no_such_job = NoSuchJob;
  gate.complain = [](const absl::Status& status) { spdlog::error("{}", Message(status)); };
  return gate;
}

// Returns when the process is to end. Until then health checks hear what a submission would: not
// serving while Redis is away, nor while another scheduler leads. `often` is called every now and
// then.
void WaitForTheEnd(const FarmLoop& loop, Health& health, const std::function<void()>& often) {
  while (g_stop == 0 && loop.failure().ok()) {
    health.SetServing(loop.Health().ok());
    often();
    usleep(50'000);
  }
  health.SetServing(false);
}

absl::Status RunRebuild(const store::RedisAddress& redis, store::BlobStore& blobs) {
  store::FarmStore store(redis);
  TS_ASSIGN_OR_RETURN(const Rebuilt rebuilt,
                      Rebuild(store, blobs, absl::StrCat("rebuild-", RandomHex(4)), RealClock()));
  for (const std::string& what : rebuilt.ignored) spdlog::warn("left out: {}", what);
  spdlog::info("rebuilt: {} jobs ({} cancelled), {} of {} variants committed", rebuilt.jobs,
               rebuilt.cancelled, rebuilt.committed, rebuilt.variants);
  return absl::OkStatus();
}

// A gallery on every address of a machine is reached where its scheduler is; empty: nobody said.
std::string GalleryUrl(std::string url, const std::string& machine) {
  for (const std::string any : {"//0.0.0.0:", "//[::]:"}) {
    const size_t at = url.find(any);
    if (at == std::string::npos) continue;
    if (machine.empty() || absl::StartsWith(machine, "unix:")) return "";
    url.replace(at, any.size(), absl::StrCat("//", machine.substr(0, machine.rfind(':')), ":"));
  }
  return url;
}

// Null where none is wanted. It calls `server` and `loop`, which must outlive it.
absl::StatusOr<std::unique_ptr<gallery::Gallery>> StartGallery(const Options& options,
                                                               CallServer& server, FarmLoop& loop) {
  if (options.gallery.empty()) return nullptr;
  std::signal(SIGPIPE, SIG_IGN);  // a visitor may be gone at any time
  TS_ASSIGN_OR_RETURN(auto gallery, gallery::Gallery::Start(
                                        {.address = options.gallery,
                                         .tls_cert = options.security.tls_cert,
                                         .tls_key = options.security.tls_key,
                                         .asks_callers = options.security.asks_callers(),
                                         .farm = server.InProcessChannel(),
                                         .elsewhere = [&loop] { return loop.GalleryOfLeader(); }},
                                        RealClock()));
  spdlog::info("gallery on {}", gallery->url());
  loop.ShowGallery(options.gallery_url.empty() ? GalleryUrl(gallery->url(), options.advertise)
                                               : options.gallery_url);
  return gallery;
}

absl::Status Serve(const Options& options) {
  TS_RETURN_IF_ERROR(CheckListen(options.listen, options.metrics, options.security));
  TS_ASSIGN_OR_RETURN(const Cpus farm_cpus, Cpus::Parse(options.farm_cpus));
  TS_ASSIGN_OR_RETURN(const Cpus client_cpus, Cpus::Parse(options.client_cpus));
  TS_RETURN_IF_ERROR(CheckGallery(options.gallery, options.security));
  TS_ASSIGN_OR_RETURN(const auto credentials, CredentialsOf(options.security));
  std::map<std::string, TenantRule> tenants;
  if (!options.tenants.empty()) {
    TS_ASSIGN_OR_RETURN(tenants, ReadTenants(options.tenants));
  }
  std::optional<seal::FarmKey> farm_key;
  if (!options.farm_key.empty()) {
    TS_ASSIGN_OR_RETURN(farm_key, seal::FarmKey::Load(options.farm_key));
    const rlimit no_core{0, 0};  // that could hold a photo or a key
    setrlimit(RLIMIT_CORE, &no_core);
  }
  TS_ASSIGN_OR_RETURN(const Watched watched, Watch(options, tenants));
  TS_ASSIGN_OR_RETURN(auto redis, store::ParseRedisAddress(options.redis));
  redis.tls_files = options.redis_tls;
  redis = store::WithCredentialsOfEnvironment(redis);
  TS_ASSIGN_OR_RETURN(auto opened, store::OpenBlobStore(options.blobs));
  // Not before: a signal ends a process that still looks for its blob store.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { g_stop = 1; });
  std::signal(SIGHUP, [](int) { g_reopen = 1; });
  if (options.rebuild) return RunRebuild(redis, *opened);
  monitoring::Registry registry;
  monitoring::SchedulerMetrics metrics(registry);
  if (!options.metrics.empty()) TS_RETURN_IF_ERROR(registry.Serve(options.metrics));
  const auto blobs = store::Observed(std::move(opened),
                                     [&metrics](auto... call) { metrics.blobs.Observe(call...); });

  LoopOptions loop_options = options.loop;
  loop_options.cpus = farm_cpus;
  loop_options.farm.tenants = tenants;
  loop_options.farm.target_lease_ms = int64_t{1'000} * options.lease_seconds;
  loop_options.name = absl::StrCat("scheduler-", getpid(), "-", RandomHex(4));
  loop_options.advertise = options.advertise.empty() ? options.listen : options.advertise;
  loop_options.blobs_hold_jobs = [&blobs]() -> absl::StatusOr<bool> {
    TS_ASSIGN_OR_RETURN(const auto keys, blobs->ListSome("jobs/", 1));
    return !keys.empty();
  };
  access::TokenBook tokens;
  const bool asks = options.security.asks_callers();
  if (asks) loop_options.tokens = &tokens;
  FarmLoop loop(loop_options, std::make_unique<store::FarmStore>(redis), RealClock(), metrics);
  PhotoVault vault(*blobs, std::move(farm_key), RealClock(), metrics,
                   [&](const std::string& tenant) { return RuleOf(tenants, tenant).photos; });
  PhotoRows photo_rows(*blobs);
  PhotoWarden warden(loop, vault, photo_rows, RealClock());
  PhotoService photo_service(loop, vault, photo_rows, *blobs, metrics);
  TS_ASSIGN_OR_RETURN(const auto moderator, moderation::OpenModerator(options.moderator));
  FarmService farm_service(loop, *blobs, photo_service, metrics, moderator.get());
  PictureService picture_service(loop, *blobs, metrics);
  const access::Gate gate(GateOf(options, loop, watched, tokens), RealClock());
  CallServer server;
  if (asks || watched.log != nullptr) server.Guard(gate);
  farm_service.AddTo(server);
  photo_service.AddTo(server);
  picture_service.AddTo(server);
  AddWorkerService(server, loop, metrics);
  AddTokenService(server, loop, loop_options.tokens, RealClock());
  Scaler scaler(server, loop);
  AddReflection(server);
  Health health(server);
  FirstToken first_token(options.security.first_token, loop, tokens, RealClock());
  server.RunOn(client_cpus);
  TS_RETURN_IF_ERROR(server.Start(options.listen, credentials));
  spdlog::info("serving on {}{}", options.listen, asks ? ", to those who have a token" : "");
  TS_ASSIGN_OR_RETURN(auto gallery, StartGallery(options, server, loop));
  loop.Start();
  warden.Start();
  WaitForTheEnd(loop, health, [&] {
    server.EndStreams(RealClock());
    scaler.Look();
    first_token.Look();
    if (g_reopen == 0 || watched.log == nullptr) return;
    g_reopen = 0;
    if (const absl::Status reopened = watched.log->Reopen(); !reopened.ok())
      spdlog::error("{}", Message(reopened));
  });
  gallery.reset();
  blobs->Interrupt();
  loop.Stop();  // first: it answers whoever still waits, and the server waits for them
  warden.Stop();
  server.Stop();
  TS_RETURN_IF_ERROR(loop.failure());
  spdlog::info("stopped");
  return absl::OkStatus();
}

}  // namespace
}  // namespace tiltshift::scheduler

int main(int argc, char** argv) {
  using namespace tiltshift::scheduler;
  // gRPC's locks are Abseil's, whose search for deadlocks distributions leave on.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  CLI::App app{"Plans jobs, leases them to workers, keeps their progress in Redis.",
               "tiltshift-scheduler"};
  Options options;
  AddOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  tiltshift::StartLog(options.log);
  const absl::Status status = Serve(options);
  if (status.ok()) return 0;
  spdlog::error("{}", tiltshift::Message(status));
  return 1;
}
