#include "bench/shape_bench.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/engine_report.h"
#include "bench/peak.h"
#include "bench/peers.h"
#include "bench/random_model.h"
#include "engine/pack/weight_cache.h"
#include "engine/pipeline.h"

namespace tiltshift::engine {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// MiB that a line of a file below /proc/self says.
double MibOf(const char* file, const char* line_start) {
  std::ifstream status(absl::StrCat("/proc/self/", file));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(line_start)) return std::stod(line.substr(std::strlen(line_start))) / 1024;
  }
  return 0;
}

// Seconds to read every file of weights, one after the other, as a copy through a buffer.
double ReadSeconds(const std::string& folder) {
  std::string buffer(size_t{4} << 20, '\0');
  const double start = Now();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    while (read(fd, buffer.data(), buffer.size()) > 0) {
    }
    close(fd);
  }
  return Now() - start;
}

struct Times {
  double best = 1e9, median = 0;
};

template <class F>
Times Measure(int runs, const F& run) {
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const double start = Now();
    run();
    seconds.push_back(Now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2]};
}

class Subject {
 public:
  Subject(std::shared_ptr<const Model> model, int size)
      : model_(std::move(model)), pipeline_(model_), side_(size / model_->impl().config.vae.scale()) {}

  // Everything that only a first picture waits for: programs made, prompts encoded, pages touched.
  absl::Status Warm() {
    TS_ASSIGN_OR_RETURN(const Prompt* prompt, pipeline_.Encode("a miniature"));
    std::vector<float> latent(pipeline_.LatentFloats(latent_size()), 0.5f);
    TS_ASSIGN_OR_RETURN(const auto sampler,
                        MakeSampler(SamplerKind::kModelDefault, model_->impl().config.noise, {.steps = 1}));
    const DenoiseOptions options = {latent_size(), sampler.get(), prompt, prompt, 4.0f};
    TS_RETURN_IF_ERROR(pipeline_.Denoise(options, nullptr, latent));
    std::vector<float> picture(pipeline_.PictureFloats(latent_size()));
    TS_RETURN_IF_ERROR(pipeline_.coder().Decode(latent_size(), latent, picture));
    TS_ASSIGN_OR_RETURN(unet_, pipeline_.DenoiseProgramsFor(latent_size()));
    TS_ASSIGN_OR_RETURN(vae_, pipeline_.coder().DecodeProgram(latent_size()));
    return absl::OkStatus();
  }
  LatentSize latent_size() const { return {side_, side_}; }
  Program& unet() { return *unet_.guided; }
  // What a guided step computes.
  void RunGuided() {
    if (unet_.unguided != nullptr) return unet_.guided->RunWith(*unet_.unguided);
    unet_.guided->Run();
    unet_.guided->Run();
  }
  Program& vae() { return *vae_; }

 private:
  std::shared_ptr<const Model> model_;
  Pipeline pipeline_;
  int side_;
  Pipeline::DenoisePrograms unet_ = {};
  Program* vae_ = nullptr;
};

void PrintShare(const char* what, double seconds, double flops, double peak) {
  std::printf("%-28s %9.3f s  %6.0f GFLOP/s", what, seconds, flops / seconds / 1e9);
  if (peak > 0) std::printf("  %5.1f%% of the peak (%.3f s)", 100 * flops / seconds / peak, flops / peak);
  std::printf("\n");
}

absl::Status PrintLimits(const ShapeSettings& settings, const std::vector<OpProfile>& own) {
  const LoadOptions options = {.precision = settings.precision, .library_products = true};
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(settings.folder, options));
  Subject library(model, settings.size);
  TS_RETURN_IF_ERROR(library.Warm());
  const std::vector<OpProfile> alone = library.unet().ProfileAlone(settings.runs);
  std::printf("oneDNN alone at these convolutions and matrices %.0f GFLOP/s; ours within a forward %.0f\n",
              ProductRate(alone), ProductRate(own));
  PrintOps("oneDNN's forward", library.unet().Profile(settings.runs), &alone);
  return absl::OkStatus();
}

void PrintPeers(const ShapeSettings& settings, bool bf16, double forward, double decode) {
  const std::vector<PeerResult> results = RunPeers({.source_dir = settings.source_dir,
                                                    .pythons = settings.peer_pythons,
                                                    .peers = settings.peers,
                                                    .bf16 = bf16,
                                                    .threads = settings.threads,
                                                    .size = settings.size,
                                                    .runs = settings.runs});
  for (const PeerResult& peer : results) {
    if (!peer.skipped.empty()) {
      std::printf("%s: skipped, %s\n", peer.name.c_str(), peer.skipped.c_str());
      continue;
    }
    std::printf("%-28s %9.3f s a forward, %.2f times ours; %.3f s a decode, %.2f times ours\n", peer.name.c_str(),
                peer.forward, peer.forward / forward, peer.decode, peer.decode / decode);
  }
}

}  // namespace

absl::Status RunShapeBench(const ShapeSettings& settings) {
  TS_RETURN_IF_ERROR(WriteSd15({settings.folder, settings.source_dir}));
  omp_set_num_threads(settings.threads);
  ReadSeconds(settings.folder);
  const double read = ReadSeconds(settings.folder);
  LoadOptions options = {.precision = settings.precision, .device = settings.device};
  if (!settings.weight_cache.empty()) {
    options.weight_cache = std::make_shared<WeightCache>(WeightCacheOptions{
        .folder = settings.weight_cache, .log = [](const std::string& line) { std::printf("%s\n", line.c_str()); }});
  }
  double start = Now();
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(settings.folder, options));
  const double load = Now() - start;
  start = Now();
  Subject subject(model, settings.size);
  TS_RETURN_IF_ERROR(subject.Warm());
  const double warm = Now() - start;

  const Times forward = Measure(settings.runs, [&] { subject.unet().Run(); });
  const Times guided = Measure(settings.runs, [&] { subject.RunGuided(); });
  const Times decode = Measure(std::max(1, settings.runs / 2), [&] { subject.vae().Run(); });
  // At most at once; and now, with pages that several processes have divided among them.
  const double memory = MibOf("status", "VmHWM:"), share = MibOf("smaps_rollup", "Pss:");
  const std::vector<OpProfile> ops = subject.unet().Profile(settings.runs);
  const std::vector<OpProfile> decode_ops = subject.vae().Profile(2);

  const bool bf16 = model->impl().compute == Compute::kBf16;
  const double fp32_peak = PeakFp32(settings.threads), tile_peak = PeakTiles(settings.threads);
  const bool on_cpu = settings.device == Device::kCpu;
  const double peak = !on_cpu ? 0 : bf16 ? tile_peak : fp32_peak;
  TS_ASSIGN_OR_RETURN(const ModelSummary summary,
                      Model::Examine(settings.folder, {.precision = settings.precision}));
  const double weights = static_cast<double>(summary.weight_bytes) / (1 << 20);
  std::printf("%s\n%d threads, %dx%d, %.1f GFLOP a forward, %.1f a decode\n", model->render_class().c_str(),
              settings.threads, settings.size, settings.size, FlopsOf(ops) / 1e9, FlopsOf(decode_ops) / 1e9);
  if (on_cpu) std::printf("peak                         %9.0f GFLOP/s fp32, %.0f bf16 on tiles\n", fp32_peak / 1e9, tile_peak / 1e9);
  PrintShare("a forward", forward.best, FlopsOf(ops), peak);
  PrintShare("  median", forward.median, FlopsOf(ops), peak);
  PrintShare("a guided step, half of it", guided.best / 2, FlopsOf(ops), peak);
  PrintShare("a decode", decode.best, FlopsOf(decode_ops), peak);
  std::printf("files                        %9.0f MiB, read in %.2f s\n", weights, read);
  std::printf("loaded                       %9.2f s, and %.2f s to the end of the first step and decode\n", load, warm);
  std::printf("activations                  %9.0f MiB of a forward, %.0f of a decode\n",
              static_cast<double>(subject.unet().memory_bytes()) / (1 << 20),
              static_cast<double>(subject.vae().memory_bytes()) / (1 << 20));
  std::printf("memory at most               %9.0f MiB, %.2f times the files; %.0f now, shared pages in parts\n", memory,
              memory / weights, share);
  if (settings.ops) {
    const std::vector<OpProfile> alone = subject.unet().ProfileAlone(settings.runs);
    PrintOps("UNet forward", ops, &alone);
    PrintOps("VAE decode", decode_ops, nullptr);
    if (settings.each) PrintEach("UNet forward", ops, alone);
    if (settings.each) PrintEach("VAE decode", decode_ops, decode_ops);
  }
  if (settings.limits) TS_RETURN_IF_ERROR(PrintLimits(settings, ops));
  std::fflush(stdout);
  if (on_cpu) PrintPeers(settings, bf16, forward.best, decode.best);
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
