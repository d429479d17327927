// `tiltshift render`: a farm on this machine, one campaign through it, its pictures in a folder.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/disk.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/contest_results.h"
#include "cli/format.h"
#include "cli/local_farm.h"
#include "cli/model_folder_option.h"
#include "cli/outputs.h"
#include "cli/photo_files.h"
#include "cli/receipts.h"
#include "cli/stored_outputs.h"
#include "cli/watch.h"
#include "plan/model_folder.h"
#include "plan/photo_id.h"
#include "plan/plan.h"
#include "plan/spec.h"
#include "provenance/own_certificate.h"
#include "provenance/signer.h"

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto kStartPatience = std::chrono::seconds(30);
constexpr int kWatchPatienceMs = 60'000;
constexpr int kSlowStartMs = 100;
constexpr auto kLook = std::chrono::milliseconds(20);
constexpr auto kTroublePatience = std::chrono::seconds(10);

struct RenderOptions {
  Common common;
  std::string spec, out, models;
  int slots = 2;
  std::string render = "engine";
  std::string device = "auto";
  std::string gallery, metrics;
  uint64_t keep_free_mb = 64;
  std::string signing_cert, signing_key;
  bool no_sheet = false;
};

absl::Status CheckModels(const std::string& models, const v1::JobSpec& spec) {
  TS_RETURN_IF_ERROR(plan::CheckModelIsThere(models, spec.model()));
  for (const v1::Lora& lora : spec.loras())
    TS_RETURN_IF_ERROR(plan::CheckLoraIsThere(models, lora.name()));
  for (const v1::Control& control : spec.controls())
    TS_RETURN_IF_ERROR(plan::CheckControlIsThere(models, control.name()));
  return absl::OkStatus();
}

// The files that pictures are signed with, made where none were named; tried before a farm starts.
absl::Status ChooseSigner(const RenderOptions& options, LocalFarmOptions& farm) {
  farm.signing_cert = options.signing_cert;
  farm.signing_key = options.signing_key;
  if (farm.signing_cert.empty()) {
    TS_ASSIGN_OR_RETURN(const std::string folder, provenance::OwnCertificateFolder());
    TS_ASSIGN_OR_RETURN(const auto own, provenance::MakeOwnCertificate(folder));
    farm.signing_cert = farm.signing_key = own.signer_file;
  }
  return provenance::Signer::Load(farm.signing_cert, farm.signing_key).status();
}

std::string ClaimPath(const std::string& farm_folder) { return farm_folder + "/spec.sha256"; }

// One folder holds one campaign: pictures of two would mix.
absl::StatusOr<Written> ClaimFolder(const std::string& farm_folder, const std::string& out,
                                    const v1::JobSpec& spec, const std::string& spec_hash) {
  const std::string path = ClaimPath(farm_folder);
  TS_ASSIGN_OR_RETURN(
      const Written written,
      WriteFileAtomic(path, absl::StrCat(spec_hash, " ", spec.name(), "\n"), IfPresent::kKeep));
  if (written == Written::kCreated) return written;
  TS_ASSIGN_OR_RETURN(const std::string earlier, ReadFile(path));
  if (earlier.substr(0, spec_hash.size()) == spec_hash) return written;
  return absl::AlreadyExistsError(absl::StrCat(
      out, " holds the pictures of another campaign or an earlier version of this one (",
      earlier.substr(spec_hash.size() + 1, earlier.size() - spec_hash.size() - 2),
      "); choose another --out, or delete the folder"));
}

// The scheduler refuses what no worker's model can do, so a worker must be there to be asked. One
// that takes longer is not waited for: then the job waits for it.
absl::Status WaitForWorker(LocalFarm& farm, FarmClient& client) {
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto list = client.ListWorkers();
    if (list.ok() && list->workers_size() > 0) return absl::OkStatus();
    TS_RETURN_IF_ERROR(farm.status());
    if (Interrupted()) return absl::CancelledError("interrupted");
    std::this_thread::sleep_for(kLook);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::SubmitResponse> SubmitWhenReady(LocalFarm& farm, FarmClient& client,
                                                   plan::SpecFile file, PhotoFiles& photos,
                                                   const std::string& request_id) {
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  for (;;) {
    const absl::Status uploaded = photos.Upload(client, request_id, file);
    const auto submitted = uploaded.ok() ? client.Submit(file, request_id)
                                         : absl::StatusOr<v1::SubmitResponse>(uploaded);
    if (submitted.status().code() != absl::StatusCode::kUnavailable) return submitted;
    TS_RETURN_IF_ERROR(farm.status());
    if (Interrupted()) return absl::CancelledError("interrupted");
    if (std::chrono::steady_clock::now() > deadline) return submitted;
    client.WaitForConnection(kSlowStartMs);
  }
}

// Once the worker is there, says what it is where nobody would want it. True when that is settled.
bool HasLookedAtDevice(FarmClient& client) {
  const auto list = client.ListWorkers();
  if (!list.ok() || list->workers().empty()) return false;
  if (list->workers(0).device().starts_with("emulated")) {
    std::fprintf(
        stderr,
        "tiltshift: this build has no CUDA and the card is emulated: right, and thousands of "
        "times slower. To render now, use --device cpu; for a card, build with "
        "-DTILTSHIFT_CUDA=ON\n");
  }
  return true;
}

// Shows the job and brings its pictures until it has ended; stops early, with the farm's trouble,
// where a child can't be kept alive.
absl::StatusOr<v1::Job> Follow(LocalFarm& farm, FarmClient& client, const std::string& job_id,
                               StoredOutputs& outputs, const RenderOptions& options) {
  const bool json = options.common.json;
  bool settled = options.device != "cuda";  // auto takes no emulated card
  v1::Job last;
  Progress progress(json);
  auto well = std::chrono::steady_clock::now();
  const auto in_long_trouble = [&] {
    return std::chrono::steady_clock::now() - well > kTroublePatience;
  };
  const absl::Status watched = client.Watch(job_id, kWatchPatienceMs, [&](const v1::Job& job) {
    if (!job.id().empty()) progress.Show(last = job);
    outputs.Bring();
    if (!settled) settled = HasLookedAtDevice(client);
    if (last.trouble().empty()) well = std::chrono::steady_clock::now();
    for (const std::string& news : farm.TakeNews()) {
      progress.End();
      std::fprintf(stderr, "tiltshift: %s\n", news.c_str());
    }
    return !Interrupted() && farm.status().ok() && !in_long_trouble();
  });
  progress.End();
  TS_RETURN_IF_ERROR(farm.status());
  if (in_long_trouble() && !Interrupted())
    return absl::InternalError(absl::StrCat("the farm can't go on: ", last.trouble()));
  TS_RETURN_IF_ERROR(watched);
  return last;
}

std::string FailuresPath(const RenderOptions& options) { return options.out + "/failed.txt"; }

// The farm that knows them ends with the command.
absl::Status WriteFailures(const RenderOptions& options, FarmClient& client, const v1::Job& job) {
  std::string lines;
  if (job.failed() > 0) {
    TS_RETURN_IF_ERROR(client.ListFailed(job.id(), [&](const v1::VariantStatus& variant) {
      absl::StrAppend(&lines, FailureLine(variant.index(), variant.attempts(), variant.reason()),
                      "\n");
    }));
    return WriteFileAtomic(FailuresPath(options), lines, IfPresent::kReplace).status();
  }
  std::error_code none;
  fs::remove(FailuresPath(options), none);
  return absl::OkStatus();
}

void PrintResult(const RenderOptions& options, const v1::Job& job, const Fetched& fetched,
                 const std::vector<std::string>& sheets) {
  if (options.common.json) {
    const nlohmann::json json = {
        {"job", job.id()},
        {"state", StateName(job.state())},
        {"variants", job.variants()},
        {"committed", job.committed()},
        {"failed", job.failed()},
        {"pictures", fetched.pictures},
        {"folder", options.out},
        {"sheets", sheets},
        {"seconds", (job.ended_unix_ms() - job.started_unix_ms()) / 1000.0}};
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  std::printf("%s\n%s pictures in %s\n", Summary(job, FailuresPath(options)).c_str(),
              WithCommas(fetched.pictures).c_str(), options.out.c_str());
  for (const std::string& sheet : sheets) std::printf("contact sheet: %s\n", sheet.c_str());
}

// Pictures are looked at for longer than they are rendered: the farm stays until Ctrl-C.
absl::Status ShowGallery(const RenderOptions& options, const LocalFarm& farm) {
  if (options.gallery.empty()) return absl::OkStatus();
  std::fprintf(stderr, "the gallery stays on http://%s/ until Ctrl-C\n", options.gallery.c_str());
  while (!Interrupted() && farm.status().ok()) std::this_thread::sleep_for(kLook);
  return farm.status();
}

absl::StatusOr<ExitCode> RunRender(const RenderOptions& options) {
  PhotoFiles photos;
  TS_ASSIGN_OR_RETURN(const plan::SpecFile file, plan::LoadSpec(options.spec, photos.Checker()));
  const v1::JobSpec& spec = file.spec;
  TS_ASSIGN_OR_RETURN(const plan::Plan plan, plan::Plan::Create(spec));
  TellSkipped(file.skipped);
  if (options.render != "noop") TS_RETURN_IF_ERROR(CheckModels(options.models, plan.spec()));
  const std::string farm_folder = options.out + "/.tiltshift";
  std::string hashed = plan.spec().SerializeAsString();
  for (const v1::Entries& batch : file.batches) batch.AppendToString(&hashed);
  if (plan::HasPhotos(plan.spec())) hashed += photos.Digest();
  const std::string spec_hash = Sha256Hex(hashed);
  TS_ASSIGN_OR_RETURN(const Written claimed,
                      ClaimFolder(farm_folder, options.out, spec, spec_hash));

  TS_RETURN_IF_ERROR(CheckRoom(options.out, 0, options.keep_free_mb * 1'000'000));
  LocalFarmOptions farm_options{.folder = farm_folder,
                                .models = options.models,
                                .slots = options.slots,
                                .keep_free_mb = options.keep_free_mb,
                                .render = options.render,
                                .device = options.device,
                                .takes_photos = plan::HasPhotos(plan.spec()),
                                .gallery = options.gallery,
                                .metrics = options.metrics};
  TS_RETURN_IF_ERROR(ChooseSigner(options, farm_options));
  TS_ASSIGN_OR_RETURN(auto farm, LocalFarm::Start(farm_options));
  FarmClient client(farm->scheduler_address());
  if (!options.common.json)
    std::fprintf(stderr, "%s: %s pictures into %s\n", spec.name().c_str(),
                 WithCommas(plan.count()).c_str(), options.out.c_str());
  if (!options.gallery.empty())
    std::fprintf(stderr, "gallery: http://%s/\n", options.gallery.c_str());
  TS_RETURN_IF_ERROR(WaitForWorker(*farm, client));
  const auto submitted =
      SubmitWhenReady(*farm, client, file, photos, "render-" + spec_hash.substr(0, 40));
  // A spec that was refused keeps nobody out: the folder is for it when it is mended.
  if (absl::IsInvalidArgument(submitted.status()) && claimed == Written::kCreated)
    fs::remove(ClaimPath(farm_folder));
  TS_RETURN_IF_ERROR(submitted.status());
  StoredOutputs outputs(farm->blobs(), submitted->job_id(), options.out);
  const auto followed = Follow(*farm, client, submitted->job_id(), outputs, options);
  // Whatever is rendered belongs to the user, also after Ctrl-C.
  const auto fetched =
      FetchOutputs(client, submitted->job_id(), options.out, {.local_blobs = farm->blobs()});
  if (!followed.ok()) {
    if (!absl::IsCancelled(followed.status())) {
      farm->GiveUp();
      return followed.status();
    }
    return absl::CancelledError(absl::StrCat("interrupted; ", fetched.ok() ? fetched->pictures : 0,
                                             " of ", plan.count(), " pictures are in ", options.out,
                                             "; the same command goes on from here"));
  }
  TS_RETURN_IF_ERROR(fetched.status());
  TS_RETURN_IF_ERROR(WriteFailures(options, client, *followed));
  if (spec.has_contest())
    TS_RETURN_IF_ERROR(
        WriteResults(client, submitted->job_id(), options.out + "/results.csv").status());
  if (plan::HasPhotos(plan.spec())) {
    TS_RETURN_IF_ERROR(
        EndPhotos(client, submitted->job_id(), options.out + "/receipts.jsonl").status());
  }
  std::vector<std::string> sheets;
  if (!options.no_sheet && fetched->pictures > 0) {
    TS_ASSIGN_OR_RETURN(sheets, WriteSheets(options.out, {.title = spec.name()}));
  }
  PrintResult(options, *followed, *fetched, sheets);
  TS_RETURN_IF_ERROR(ShowGallery(options, *farm));
  return ExitCodeOf(followed->state());
}

}  // namespace

void AddRenderCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<RenderOptions>();
  options->slots = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  CLI::App* command = app.add_subcommand(
      "render", "Render a spec on this machine: starts a whole farm, ends it afterwards");
  command->footer(
      "Examples:\n  tiltshift render deploy/demo/figurines.yaml --out out/demo\n"
      "  tiltshift render campaign.yaml --out pictures --slots 4 --json\n"
      "Run it again after Ctrl-C or a crash: it goes on where it stopped. One folder holds one "
      "campaign.\n");
  command->add_option("spec", options->spec, "the campaign or contest, YAML or JSON")->required();
  command
      ->add_option(
          "--out", options->out,
          "folder for the pictures, manifest.jsonl, sheet.png, a contest's results.csv, failed.txt "
          "where something failed; made if missing")
      ->required();
  AddModelsOption(*command, options->models);
  command->add_option("--slots", options->slots, "pictures rendered at once, a core each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--render", options->render,
                   "engine, or noop: 1x1 pictures, to try the farm without rendering")
      ->capture_default_str()
      ->check(CLI::IsMember({"engine", "noop"}));
  command
      ->add_option("--device", options->device,
                   "cpu, cuda, or auto: the card where one is, else the processor")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command->add_option(
      "--gallery", options->gallery,
      "host:port of this machine, as 127.0.0.1:7080, to look at the pictures with a "
      "browser, as they come and until Ctrl-C");
  command->add_option("--metrics", options->metrics,
                      "host:port for the worker's /metrics while it renders");
  command
      ->add_option("--keep-free", options->keep_free_mb,
                   "megabytes of the folder's disk that are left free: rendering ends before")
      ->capture_default_str();
  CLI::Option* key = command->add_option("--signing-key", options->signing_key,
                                         "its private key, PEM, of Ed25519; the same file will do");
  CLI::Option* certificate =
      command->add_option("--signing-cert", options->signing_cert,
                          "certificate, PEM, that the pictures' content credentials are signed "
                          "with; default: one of this "
                          "user's own, made at first use");
  certificate->needs(key);
  key->needs(certificate);
  command->add_flag("--no-sheet", options->no_sheet, "draw no contact sheet");
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunRender(*options); }; });
}

}  // namespace tiltshift::cli
