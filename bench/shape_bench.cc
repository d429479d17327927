#include "bench/shape_bench.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "bench/engine_report.h"
#include "bench/own_process.h"
#include "bench/peak.h"
#include "bench/peers.h"
#include "bench/random_model.h"
#include "engine/pack/weight_cache.h"
#include "engine/pipeline.h"

namespace tiltshift::engine {
namespace {

template <class F>
void ForEachWeightFile(const std::string& folder, const F& f) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    f(fd);
    close(fd);
  }
}

// The files' pages leave memory, so that who reads them next reads the disk.
void DropFromMemory(const std::string& folder) {
  ForEachWeightFile(folder, [](int fd) {
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  });
}

// Seconds to read every file of weights, one after the other, as a copy through a buffer.
double ReadSeconds(const std::string& folder) {
  std::string buffer(size_t{4} << 20, '\0');
  const double start = Now();
  ForEachWeightFile(folder, [&](int fd) {
    while (read(fd, buffer.data(), buffer.size()) > 0) {
    }
  });
  return Now() - start;
}

// Progress, so that nobody waits before a silent screen; figures go to the standard output.
void Say(const std::string& what) {
  static const double start = Now();
  std::fprintf(stderr, "[%6.1f s] %s\n", Now() - start, what.c_str());
}

// One thing's runs. What else had the cores meanwhile is told beside them: a slow run is the
// program's only where nothing else ran.
class Series {
 public:
  template <class F>
  void Add(const F& run) {
    const ProcessTimes before = TimesNow();
    const double start = Now();
    run();
    seconds_.push_back(Now() - start);
    spent_ += TimesNow() - before;
  }
  double best() const { return *std::ranges::min_element(seconds_); }
  double median() const {
    std::vector<double> sorted = seconds_;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  void SayEach(const char* what) const {
    std::string line = absl::StrCat(what, ":");
    double all = 0;
    for (const double each : seconds_) {
      absl::StrAppendFormat(&line, " %.3f", each);
      all += each;
    }
    absl::StrAppendFormat(
        &line, "; %.1f s of the cores in %.1f s, preempted %d times, %.2f s taken by the host",
        spent_.cores, all, spent_.preempted, spent_.stolen);
    Say(line);
  }

 private:
  std::vector<double> seconds_;
  ProcessTimes spent_;
};

// What the machine gave before each run.
void SayMoments(const std::vector<Moment>& moments) {
  std::string tiles = "GFLOP/s on tiles from registers:", fp32 = "in fp32:",
              cache = "GB/s from the second-level caches:", memory = "from memory:";
  for (const Moment& moment : moments) {
    absl::StrAppendFormat(&tiles, " %.0f", moment.tiles / 1e9);
    absl::StrAppendFormat(&fp32, " %.0f", moment.fp32 / 1e9);
    absl::StrAppendFormat(&cache, " %.0f", moment.cache / 1e9);
    absl::StrAppendFormat(&memory, " %.0f", moment.memory / 1e9);
  }
  Say(absl::StrCat("meanwhile the machine gave, ", tiles, "; ", fp32, "; ", cache, "; ", memory));
}

class Subject {
 public:
  Subject(std::shared_ptr<const Model> model, int size)
      : model_(std::move(model)),
        pipeline_(model_),
        side_(size / model_->impl().config.vae.scale()) {}

  struct First {
    double encode = 0, step = 0, decode = 0;  // seconds
    long faults = 0;
  };
  // Everything that only a first picture waits for: programs made, prompts encoded, pages touched.
  absl::StatusOr<First> Warm() {
    First first;
    const ProcessTimes start = TimesNow();
    double before = Now();
    const auto lap = [&] {
      const double now = Now();
      return now - std::exchange(before, now);
    };
    TS_ASSIGN_OR_RETURN(const Prompt* prompt, pipeline_.Encode("a miniature"));
    first.encode = lap();
    std::vector<float> latent(pipeline_.LatentFloats(latent_size()), 0.5f);
    TS_ASSIGN_OR_RETURN(const auto sampler, MakeSampler(SamplerKind::kModelDefault,
                                                        model_->impl().config.noise, {.steps = 1}));
    const DenoiseOptions options = {latent_size(), sampler.get(), prompt, prompt, 4.0f};
    TS_RETURN_IF_ERROR(pipeline_.Denoise(options, nullptr, latent));
    first.step = lap();
    std::vector<float> picture(pipeline_.PictureFloats(latent_size()));
    TS_RETURN_IF_ERROR(pipeline_.coder().Decode(latent_size(), latent, picture));
    first.decode = lap();
    first.faults = (TimesNow() - start).page_faults;
    TS_ASSIGN_OR_RETURN(unet_, pipeline_.DenoiseProgramsFor(latent_size()));
    TS_ASSIGN_OR_RETURN(vae_, pipeline_.coder().DecodeProgram(latent_size()));
    return first;
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
  if (peak > 0)
    std::printf("  %5.1f%% of the peak (%.3f s)", 100 * flops / seconds / peak, flops / peak);
  std::printf("\n");
}

absl::Status PrintLimits(const ShapeSettings& settings, const std::vector<OpProfile>& own) {
  Say("oneDNN alone: packing");
  const LoadOptions options = {.precision = settings.precision, .library_products = true};
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(settings.folder, options));
  Subject library(model, settings.size);
  TS_RETURN_IF_ERROR(library.Warm().status());
  Say("oneDNN alone: measuring");
  const std::vector<OpProfile> alone = library.unet().ProfileAlone(settings.runs);
  std::printf(
      "oneDNN alone at these convolutions and matrices %.0f GFLOP/s; ours within a forward %.0f\n",
      ProductRate(alone), ProductRate(own));
  PrintOps("oneDNN's forward", library.unet().Profile(settings.runs), &alone);
  return absl::OkStatus();
}

void PrintPeers(const ShapeSettings& settings, bool bf16, double forward, double decode) {
  if (settings.peers.empty()) return;
  const std::vector<PeerResult> results = RunPeers({.source_dir = settings.source_dir,
                                                    .pythons = settings.peer_pythons,
                                                    .peers = settings.peers,
                                                    .bf16 = bf16,
                                                    .threads = settings.threads,
                                                    .size = settings.size,
                                                    .runs = settings.runs,
                                                    .progress = Say});
  const std::string title = absl::StrCat("beside the peers, ", bf16 ? "bf16" : "fp32");
  std::printf("\n%-28s %10s %8s %10s %8s\n", title.c_str(), "forward s", "of ours", "decode s",
              "of ours");
  std::printf("%-28s %10.3f %8s %10.3f\n", "ours", forward, "", decode);
  int ran = 0, behind = 0;
  for (const PeerResult& peer : results) {
    if (!peer.skipped.empty()) continue;
    ++ran;
    behind += peer.forward > forward && peer.decode > decode;
    std::printf("%-28s %10.3f %8.2f %10.3f %8.2f\n", peer.name.c_str(), peer.forward,
                peer.forward / forward, peer.decode, peer.decode / decode);
  }
  std::printf("of %d peers that ran %d are behind ours in both\n", ran, behind);
  for (const PeerResult& peer : results) {
    if (!peer.skipped.empty()) std::printf("%s: %s\n", peer.name.c_str(), peer.skipped.c_str());
  }
}

// What is measured of our own, once everything is warm.
struct Figures {
  Series forward, guided, decode;
};

Figures MeasureOwn(const ShapeSettings& settings, double peak, Subject& subject) {
  Figures figures;
  const double flops = FlopsOf(subject.unet().Profile(0)),
               decode_flops = FlopsOf(subject.vae().Profile(0));
  std::printf("%d threads, %dx%d, %.1f GFLOP a forward, %.1f a decode\n", settings.threads,
              settings.size, settings.size, flops / 1e9, decode_flops / 1e9);
  MomentProbe probe(settings.threads);
  const ProcessTimes start = TimesNow();
  Say("measuring forwards and guided steps");
  std::vector<Moment> moments;
  for (int i = 0; i < settings.runs; ++i) {  // in turns: a slow minute is both's
    moments.push_back(probe.Measure());
    figures.forward.Add([&] { subject.unet().Run(); });
    figures.guided.Add([&] { subject.RunGuided(); });
  }
  figures.forward.SayEach("forwards");
  figures.guided.SayEach("guided steps");
  SayMoments(moments);
  PrintShare("a forward", figures.forward.best(), flops, peak);
  PrintShare("  median", figures.forward.median(), flops, peak);
  PrintShare("a guided step, half of it", figures.guided.best() / 2, flops, peak);
  PrintShare("  median", figures.guided.median() / 2, flops, peak);
  Say("measuring decodes");
  moments.clear();
  for (int i = 0; i < std::max(2, settings.runs / 2); ++i) {
    moments.push_back(probe.Measure());
    figures.decode.Add([&] { subject.vae().Run(); });
  }
  figures.decode.SayEach("decodes");
  SayMoments(moments);
  PrintShare("a decode", figures.decode.best(), decode_flops, peak);
  PrintShare("  median", figures.decode.median(), decode_flops, peak);
  std::printf("page faults in all of these  %9ld\n", (TimesNow() - start).page_faults);
  return figures;
}

void PrintMemory(double files, Subject& subject) {
  // At most at once; and now, with pages that several processes have divided among them.
  const double memory = MibOf("status", "VmHWM:"), share = MibOf("smaps_rollup", "Pss:");
  std::printf("activations                  %9.0f MiB of a forward, %.0f of a decode\n",
              static_cast<double>(subject.unet().memory_bytes()) / (1 << 20),
              static_cast<double>(subject.vae().memory_bytes()) / (1 << 20));
  std::printf(
      "memory at most               %9.0f MiB, %.2f times the files; %.0f now, shared pages in "
      "parts\n",
      memory, memory / files, share);
}

void PrintProfile(const ShapeSettings& settings, Subject& subject) {
  Say("measuring operations");
  const std::vector<OpProfile> ops = subject.unet().Profile(settings.runs),
                               alone = subject.unet().ProfileAlone(settings.runs),
                               decode = subject.vae().Profile(2);
  PrintOps("UNet forward", ops, &alone);
  PrintOps("VAE decode", decode, nullptr);
  if (!settings.each) return;
  PrintEach("UNet forward", ops, alone);
  PrintEach("VAE decode", decode, decode);
}

}  // namespace

absl::Status RunShapeBench(const ShapeSettings& settings) {
  Say("the model's files in " + settings.folder);
  TS_RETURN_IF_ERROR(WriteSd15({settings.folder, settings.source_dir}));
  omp_set_num_threads(settings.threads);
  settings.cold ? DropFromMemory(settings.folder) : (void)ReadSeconds(settings.folder);
  const double read = ReadSeconds(settings.folder);
  if (settings.cold) DropFromMemory(settings.folder);
  LoadOptions options = {.precision = settings.precision,
                         .device = settings.device,
                         .library_products = settings.library};
  if (!settings.weight_cache.empty()) {
    options.weight_cache = std::make_shared<WeightCache>(WeightCacheOptions{
        .folder = settings.weight_cache,
        .log = [](const std::string& line) { std::printf("%s\n", line.c_str()); }});
  }
  Say("loading");
  const double start = Now();
  const ProcessTimes before = TimesNow();
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(settings.folder, options));
  const double load = Now() - start, load_cores = (TimesNow() - before).cores;
  TS_ASSIGN_OR_RETURN(const ModelSummary summary,
                      Model::Examine(settings.folder, {.precision = settings.precision,
                                                       .weight_cache = options.weight_cache}));
  const double files = static_cast<double>(summary.weight_bytes) / (1 << 20);
  std::printf("%s\n", model->render_class().c_str());
  std::printf("files                        %9.0f MiB, read in %.2f s\n", files, read);
  std::printf("loaded                       %9.2f s, %.2f s of all cores\n", load, load_cores);

  Say(settings.weight_cache.empty() ? "packing, and a first step and decode"
                                    : "a first step and decode");
  Subject subject(model, settings.size);
  TS_ASSIGN_OR_RETURN(const Subject::First first, subject.Warm());
  std::printf(
      "then for the first time      %9.2f s: text %.2f, a guided step %.2f, a decode %.2f; %ld "
      "page faults\n",
      first.encode + first.step + first.decode, first.encode, first.step, first.decode,
      first.faults);
  PrintMemory(files, subject);
  const bool bf16 = model->impl().compute == Compute::kBf16,
             on_cpu = settings.device == Device::kCpu;
  double peak = 0;
  if (on_cpu) {
    const double fp32_peak = PeakFp32(settings.threads), tile_peak = PeakTiles(settings.threads);
    std::printf("peak                         %9.0f GFLOP/s fp32, %.0f bf16 on tiles\n",
                fp32_peak / 1e9, tile_peak / 1e9);
    peak = bf16 ? tile_peak : fp32_peak;
  }
  const Figures figures = MeasureOwn(settings, peak, subject);
  if (settings.ops) PrintProfile(settings, subject);
  if (settings.limits)
    TS_RETURN_IF_ERROR(PrintLimits(settings, subject.unet().Profile(settings.runs)));
  if (on_cpu) PrintPeers(settings, bf16, figures.forward.best(), figures.decode.best());
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
