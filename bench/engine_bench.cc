// Images a second of the engine alone, and how near its UNet comes to what oneDNN reaches at the
// same shapes.
//
//   build/release/bin/engine_bench --slots 2 --threads 1          (two renderers, a core each)
//   build/release/bin/engine_bench --slots 1 --threads 2 --ops    (and a table of operations)
//   build/release/bin/engine_bench --shape sd15 --ops             (one renderer at a checkpoint's shapes, and the peers)
//   build/release/bin/engine_bench --error                        (what each precision costs in exactness)
//
// Validates first (every slot must give the same bytes, I4), warms up, then measures. The limit is
// measured in the same run, by the same threads at the same time: each convolution and linear layer
// of the UNet alone, again and again, its best time. The forward it is held against is the sum of
// its operations' best times within whole guided steps, so that what else runs on the machine
// weighs on neither side; images a second is plain wall clock.
#include <omp.h>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <filesystem>
#include <map>
#include <thread>

#include "CLI/CLI.hpp"
#include "absl/strings/str_split.h"
#include "bench/engine_report.h"
#include "bench/own_process.h"
#include "bench/shape_bench.h"
#include "engine/pack/weight_cache.h"
#include "engine/pipeline.h"
#include "engine/testing/precision_error.h"

namespace tiltshift::engine {
namespace {

struct Settings {
  std::string model = "models/diorama";
  std::string precision = "auto", device = "cpu", weight_cache;
  int slots = 2, threads = 1, images = 6, steps = 20, size = 256;
  bool ops = false, each = false, error = false;
  std::string peers = "torch,openvino";
  std::string shape;
};

struct SlotResult {
  absl::Status status;
  std::vector<uint8_t> pixels;  // of the request that all slots share
  StageSeconds seconds;         // summed over the images
  double images_seconds = 0;
  double forward_seconds = 0;  // each operation's best within whole guided steps, added
  std::vector<OpProfile> denoise, denoise_alone, library_alone, decode;
};

struct Models {
  std::shared_ptr<const Model> own, library;
};

absl::Status MeasureImages(const Settings& settings, Renderer& renderer, RenderRequest request,
                           SlotResult* result) {
  const double start = Now();
  for (int i = 0; i < settings.images; ++i) {
    request.seed += 1000;
    TS_ASSIGN_OR_RETURN(const Picture picture, renderer.Render(request));
    result->seconds.encode += picture.seconds.encode;
    result->seconds.denoise += picture.seconds.denoise;
    result->seconds.decode += picture.seconds.decode;
  }
  result->images_seconds = Now() - start;
  return absl::OkStatus();
}

// The UNet's programs, warm and bound to a prompt.
absl::StatusOr<Pipeline::DenoisePrograms> Warm(const Settings& settings, const Model& model,
                                               Pipeline& pipeline) {
  TS_ASSIGN_OR_RETURN(const Prompt* prompt, pipeline.Encode("a miniature"));
  const int side = settings.size / model.impl().config.vae.scale();
  const LatentSize size = {side, side};
  std::vector<float> latent(pipeline.LatentFloats(size), 0.5f);
  TS_ASSIGN_OR_RETURN(const auto sampler,
                      MakeSampler(SamplerKind::kModelDefault, model.impl().config.noise, {.steps = 2}));
  const DenoiseOptions options = {size, sampler.get(), prompt, prompt, 4.0f};
  TS_RETURN_IF_ERROR(pipeline.Denoise(options, nullptr, latent));
  return pipeline.DenoiseProgramsFor(size);
}

absl::Status MeasureForward(const Settings& settings, const std::shared_ptr<const Model>& model,
                            SlotResult* result) {
  Pipeline pipeline(model);
  TS_ASSIGN_OR_RETURN(const auto unet, Warm(settings, *model, pipeline));
  result->denoise = unet.guided->Profile(150, unet.unguided);
  result->denoise_alone = unet.guided->ProfileAlone(50);
  for (const OpProfile& op : result->denoise) result->forward_seconds += op.seconds;
  const int side = settings.size / model->impl().config.vae.scale();
  TS_ASSIGN_OR_RETURN(Program * vae, pipeline.coder().DecodeProgram({side, side}));
  result->decode = vae->Profile(5);
  return absl::OkStatus();
}

// The limit: the same graph by the library alone.
absl::Status MeasureLimit(const Settings& settings, const std::shared_ptr<const Model>& library,
                          SlotResult* result) {
  Pipeline pipeline(library);
  TS_ASSIGN_OR_RETURN(const auto unet, Warm(settings, *library, pipeline));
  result->library_alone = unet.guided->ProfileAlone(50);
  return absl::OkStatus();
}

absl::Status RunSlot(const Settings& settings, const Models& models, int slot,
                     std::barrier<>& together, SlotResult* result) {
  omp_set_num_threads(settings.threads);
  RenderRequest request;
  request.prompt = "a miniature red robot on a round wooden base, studio light";
  request.negative_prompt = "blurry";
  request.width = request.height = settings.size;
  request.steps = settings.steps;
  Renderer renderer(models.own);
  absl::StatusOr<Picture> first = renderer.Render(request);
  if (first.ok()) result->pixels = std::move(first->rgb);
  together.arrive_and_wait();
  TS_RETURN_IF_ERROR(first.status());
  request.seed = slot + 1;
  const absl::Status images = MeasureImages(settings, renderer, request, result);
  together.arrive_and_wait();
  TS_RETURN_IF_ERROR(images);
  TS_RETURN_IF_ERROR(MeasureForward(settings, models.own, result));
  together.arrive_and_wait();
  return MeasureLimit(settings, models.library, result);
}

void Print(const Settings& settings, const Model& model, const std::vector<SlotResult>& results) {
  const SlotResult& slot = results[0];
  double rate = 0, gflops = 0, limit = 0, flops = 0;
  for (const SlotResult& each : results) {
    rate += settings.images / each.images_seconds;
    flops = 0;
    for (const OpProfile& op : each.denoise) flops += op.flops;
    gflops += flops / each.forward_seconds / 1e9;
    limit += ProductRate(each.library_alone);
  }
  const double images = settings.images;
  std::printf("%s\n%d slots x %d threads, %dx%d, %d steps, guided\n", model.render_class().c_str(),
              settings.slots, settings.threads, settings.size, settings.size, settings.steps);
  std::printf("images/s             %8.2f\n", rate);
  std::printf("seconds an image     %8.3f  (encode %.4f, denoise %.3f, decode %.3f; slot 0)\n",
              slot.images_seconds / images, slot.seconds.encode / images,
              slot.seconds.denoise / images, slot.seconds.decode / images);
  std::printf("UNet forward         %8.2f  GFLOP, %.2f ms\n", flops / 1e9,
              slot.forward_seconds * 1e3);
  std::printf("UNet                 %8.0f  GFLOP/s, all slots together\n", gflops);
  std::printf("limit                %8.0f  GFLOP/s: %s alone at these convolutions and matrices\n", limit,
              settings.device == "cpu" ? "oneDNN" : "our kernels");
  std::printf("share of the limit   %7.1f%%\n", 100 * gflops / limit);
  if (settings.ops) {
    PrintOps("UNet forward", slot.denoise, &slot.denoise_alone);
    PrintOps("VAE decode", slot.decode, nullptr);
  }
  if (settings.each) PrintEach("UNet forward", slot.denoise, slot.denoise_alone);
}

const std::map<std::string, Precision> kPrecisions = {
    {"auto", Precision::kAuto}, {"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}};

const std::map<std::string, Device> kDevices = {{"cpu", Device::kCpu}, {"cuda", Device::kCuda}};

int Main(const Settings& settings) {
  const Precision precision = kPrecisions.at(settings.precision);
  const Device device = kDevices.at(settings.device);
  LoadOptions options = {.precision = precision, .device = device};
  if (!settings.weight_cache.empty())
    options.weight_cache = std::make_shared<WeightCache>(WeightCacheOptions{.folder = settings.weight_cache});
  const auto own = Model::Load(settings.model, options);
  const auto library = Model::Load(
      settings.model, {.precision = precision, .device = device, .library_products = true});
  for (const auto& model : {own, library}) {
    if (model.ok()) continue;
    std::fprintf(stderr, "%s\n", std::string(model.status().message()).c_str());
    return 1;
  }
  const Models models = {*own, *library};
  std::vector<SlotResult> results(settings.slots);
  std::vector<std::thread> threads;
  std::barrier<> together(settings.slots);
  for (int slot = 0; slot < settings.slots; ++slot) {
    threads.emplace_back([&, slot] {
      results[slot].status = RunSlot(settings, models, slot, together, &results[slot]);
      if (!results[slot].status.ok()) together.arrive_and_drop();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const SlotResult& result : results) {
    if (!result.status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(result.status.message()).c_str());
      return 1;
    }
    if (result.pixels != results[0].pixels) {
      std::fprintf(stderr,
                   "slots gave different bytes for one request: no figure of this run counts\n");
      return 1;
    }
  }
  Print(settings, *models.own, results);
  return 0;
}

int ShapeMain(const CLI::App& app, const Settings& settings, ShapeSettings shape) {
  const auto temporary = std::filesystem::temp_directory_path() / ("tiltshift-" + settings.shape);
  shape.folder = app.count("--model") > 0 ? settings.model : temporary.string();
  shape.precision = kPrecisions.at(settings.precision);
  shape.device = kDevices.at(settings.device);
  shape.threads = app.count("--threads") > 0 ? settings.threads : 2;
  shape.size = app.count("--size") > 0 ? settings.size : 512;
  shape.ops = settings.ops || settings.each;
  shape.each = settings.each;
  if (settings.peers != "none") shape.peers = absl::StrSplit(settings.peers, ',');
  shape.weight_cache = settings.weight_cache;
  const absl::Status status = RunShapeBench(shape);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

// Against fp32 by oneDNN, over a set of prompts: docs/performance.md has the table.
int ErrorMain(const Settings& settings) {
  for (const auto& [name, precision] : kPrecisions) {
    if (precision == Precision::kAuto) continue;
    const auto error = testing::MeasurePrecision(
        precision, {.model = settings.model, .size = settings.size, .steps = settings.steps});
    if (!error.ok()) {
      std::printf("%s: %s\n", name.c_str(), std::string(error.status().message()).c_str());
      continue;
    }
    std::printf("%s: latent at the end %.2e (worst prompt %.2e), picture %.1f dB (worst %.1f)\n  after each step",
                name.c_str(), error->latents.back(), error->worst_latent, error->psnr, error->worst_psnr);
    for (const double step : error->latents) std::printf(" %.1e", step);
    std::printf("\n");
  }
  return 0;
}

}  // namespace
}  // namespace tiltshift::engine

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // a figure is seen when it is there, through a pipe as well
  tiltshift::engine::Settings settings;
  CLI::App app("Images a second of the engine alone, and its share of oneDNN's own speed.");
  app.add_option("--model", settings.model, "A diffusers model directory");
  app.add_option("--precision", settings.precision)->check(CLI::IsMember({"auto", "bf16", "fp32"}));
  app.add_option("--device", settings.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--slots", settings.slots, "Renderers, each on a thread of its own")
      ->check(CLI::Range(1, 256));
  app.add_option("--threads", settings.threads, "OpenMP threads of each")
      ->check(CLI::Range(1, 256));
  app.add_option("--images", settings.images, "Images a slot")->check(CLI::Range(1, 100000));
  app.add_option("--steps", settings.steps)->check(CLI::Range(1, 1000));
  app.add_option("--size", settings.size, "Width and height")->check(CLI::Range(64, 2048));
  app.add_flag("--ops", settings.ops, "Print seconds by kind of operation");
  app.add_flag("--each", settings.each, "Print every operation of the UNet");
  tiltshift::engine::ShapeSettings shape = {.source_dir = TILTSHIFT_SOURCE_DIR};
  app.add_option("--shape", settings.shape, "Measure random weights of a checkpoint's shape instead")
      ->check(CLI::IsMember({"sd15"}));
  app.add_option("--runs", shape.runs, "With --shape: forwards to take the best of")->check(CLI::Range(1, 1000));
  app.add_option("--weight-cache", settings.weight_cache, "Folder that keeps packed weights");
  app.add_flag("--library", shape.library, "With --shape: oneDNN's products in place of ours (fp32: no tiles)");
  app.add_flag("--cold", shape.cold, "With --shape: drop the files from memory before they are read and loaded");
  app.add_flag("--limits", shape.limits, "With --shape: oneDNN alone at the same operations");
  app.add_option("--peers", settings.peers, "With --shape: torch, openvino, both with a comma, or none")
      ->check(CLI::IsMember({"torch", "openvino", "torch,openvino", "none"}));
  app.add_option("--peer-python", shape.peer_pythons, "A Python to look for them in; may be given several times");
  app.add_flag("--error", settings.error, "Measure each precision's error against fp32 instead");
  CLI11_PARSE(app, argc, argv);
  if (settings.error) return tiltshift::engine::ErrorMain(settings);
  if (settings.shape.empty()) return tiltshift::engine::Main(settings);
  return tiltshift::engine::ShapeMain(app, settings, shape);
}
