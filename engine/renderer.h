// The engine's door: a diffusers model directory in, pictures out.
//
//   auto model = Model::Load("models/diorama", {});
//   Renderer renderer(*model);                 // one a slot; not shared between threads
//   auto picture = renderer.Render(request);
//
// I4: the same request, model and render class give the same pixels, whatever the thread, the
// neighbours, the renderer's past and the number of renderers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/photo.h"
#include "engine/sampler_kind.h"

namespace tiltshift::engine {

class WeightCache;          // pack/weight_cache.h
enum class Mode : uint8_t;  // below

enum class Precision { kAuto, kBf16, kFp32 };  // kAuto: bf16 where the processor has it, else fp32

constexpr double kMostLoraWeight = 10;

// A LoRA that is merged into a model while it is loaded.
struct LoraUse {
  std::string file;   // .safetensors
  double weight = 1;  // -kMostLoraWeight to kMostLoraWeight
};

constexpr double kMostControlScale = 10;

// A ControlNet (Zhang et al. 2023) that is loaded beside a model: a second picture says what goes
// where.
struct ControlUse {
  std::string directory;  // config.json and diffusion_pytorch_model.safetensors
  double scale = 1;       // of what it adds, 0 to kMostControlScale
};

struct LoadOptions {
  Precision precision = Precision::kAuto;
  Device device = Device::kCpu;
  bool library_products =
      false;  // convolutions and matrices by oneDNN alone: for measuring against
  // A set: order does not matter. The model with it has a hash and a render class of its own.
  std::vector<LoraUse> loras;
  // In the order in which requests bring their pictures. The model with them is one of its own,
  // too.
  std::vector<ControlUse> controls;
  // Keeps its hash and its packed weights from start to start; null: they are made each time.
  std::shared_ptr<WeightCache> weight_cache;
};

// What lies beside models in a folder of them.
struct Beside {
  std::vector<std::string> loras;     // files
  std::vector<std::string> controls;  // directories of ControlNets
};

// What a request must be for a model.
struct ModelDemands {
  std::string needs;  // what it makes nothing without, beside a prompt: "a photo"; empty: nothing
  int size_multiple = 1;
  bool has_sampler = true;  // of its own, for a request that names none
  // Of the LoRAs and ControlNets asked about that can be read, those it can't have.
  std::vector<std::string> misfits;
};

struct ModelSummary {
  std::string hash, render_class;  // as of a Model
  uint64_t weight_bytes = 0;       // of its files
  ModelDemands demands;
};

// Weights and configuration; immutable and shared by all renderers of a process.
class Model {
 public:
  // Errors name the file, the tensor or the config field. NotFound: no such directory; DataLoss: a
  // damaged file; Unimplemented: a config this engine does not know; FailedPrecondition: a precision
  // that the device lacks, or a device that is not there.
  static absl::StatusOr<std::shared_ptr<const Model>> Load(const std::string& directory,
                                                           const LoadOptions& options);
  ~Model();

  // What Load would make of it, without its memory; everything is checked. The same errors.
  // `beside`: of what to say whether it fits.
  static absl::StatusOr<ModelSummary> Examine(const std::string& directory,
                                              const LoadOptions& options,
                                              const Beside& beside = {});

  // SHA-256 over the configs, tokenizer and weights, 64 hex characters.
  const std::string& hash() const;
  // "cpu-avx512_core_amx/dnnl-2.6.3/engine-8/bf16/<first 12 of hash>": backend, instruction set,
  // library, engine version, precision, model.
  const std::string& render_class() const;
  // What it makes of a photo.
  Mode photo_mode() const;
  // Width and height must be multiples of this (8 for the usual VAE times the UNet's own factor).
  int size_multiple() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a picture is made from beside the prompt. A model has one of three kinds of UNet: the usual
// one does all but kEdit; one that was trained to edit photos, or to fill in masks, does that
// alone.
enum class Mode : uint8_t {
  kTextToImage,   // noise
  kImageToImage,  // a photo, with noise added as `strength` says
  kEdit,          // noise, and a photo to change as told (InstructPix2Pix: Brooks et al. 2023)
  kInpaint,       // a photo of which a mask is made anew
};

// How the picture is decoded, and a photo encoded: whole, or in tiles where the whole would take too much memory
// (tiled_decoder.h, tiled_encoder.h). kAuto: in tiles from more pixels than 1024x1024 has.
enum class Tiling : uint8_t { kAuto, kWhole, kTiles };

// What a request says to each ControlNet of its model.
struct ControlPicture {
  RgbView picture;  // edges, depths, poses, ...: what the ControlNet was trained with; brought to
                    // the render's size
  // The part of the steps in which it has a say.
  double start = 0, end = 1;
};

struct RenderRequest {
  std::string prompt;
  // None: what the model means by that, an empty text or, for SDXL's kind, an embedding of zeros.
  std::optional<std::string> negative_prompt;
  uint64_t seed = 0;
  int width = 256;  // pixels
  int height = 256;
  int steps = 20;
  double guidance_scale = 4.0;  // 1: one forward a step, no negative prompt
  SamplerKind sampler = SamplerKind::kModelDefault;
  int clip_skip = 0;  // last layers of the text encoders left out for the prompt

  Mode mode = Mode::kTextToImage;
  RgbView photo;  // of any size; stretched to the render's, as diffusers does (MiddleOf cuts it to shape first)
  RgbView mask;   // kInpaint: white is made anew; of the photo's size
  // kImageToImage, kInpaint: the part of the steps that is made; 1 keeps little of the photo, 0.1
  // almost all.
  double strength = 0.8;
  // kEdit: how much the photo counts. Below 1, or with a guidance_scale of 1, there is no guidance.
  double image_guidance_scale = 1.5;
  std::vector<ControlPicture> controls;  // as many as the model was loaded with
  Tiling tiling = Tiling::kAuto;
};

struct StageSeconds {
  double encode = 0;  // text to embeddings; near zero when cached
  double denoise = 0;
  double decode = 0;
};

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
  StageSeconds seconds;
};

// A render between two of its steps: with its request, all that a renderer of the same render class
// needs to go on to the same bytes.
struct RenderState {
  int step = 0;                // that comes; 0: at the beginning, and the rest is empty
  std::vector<float> latent;   // planar
  std::vector<float> history;  // the sampler's, as many; empty: it keeps none
};

// What goes on between the steps of a render.
struct BetweenSteps {
  std::function<bool()> keep_going;  // where set: asked before every step
  // Where set: where the render goes on; and after Cancelled, where it stopped.
  RenderState* state = nullptr;
  // Where set: sees the latent, planar, after every step.
  std::function<void(int step, std::span<const float> latent)> after_step;
};

// A slot: scratch memory and cached primitives. Its oneDNN work runs on the calling thread's OpenMP
// team.
class Renderer {
 public:
  explicit Renderer(std::shared_ptr<const Model> model);
  ~Renderer();

  // Cancelled: `keep_going` said no. InvalidArgument: a size, count, scale or strength out of
  // bounds, a photo or mask that does not fit, a mode that the model was not made for, or a state
  // that is none of this request's, named. Internal: what the model computed is not
  // numbers. ResourceExhausted: the device's memory is too small for another renderer of this size.
  // Aborted: the device has failed; this process can't use it any more.
  absl::StatusOr<Picture> Render(const RenderRequest& request, const BetweenSteps& between = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiltshift::engine
