#include "engine/starting_point.h"

#include <algorithm>

#include "engine/philox.h"

namespace tiltshift::engine {
namespace {

constexpr double kMaxImageGuidance = 100;

const char* NameOf(Mode mode) {
  switch (mode) {
    case Mode::kImageToImage:
      return "image-to-image";
    case Mode::kEdit:
      return "edit";
    case Mode::kInpaint:
      return "inpaint";
    case Mode::kTextToImage:
      break;
  }
  return "text-to-image";
}

// What a UNet with these input channels can do: one that learned to be shown a photo makes nothing
// without it.
absl::Status CheckModel(Mode mode, ExtraInput extra) {
  const bool fits = extra == ExtraInput::kNone    ? mode != Mode::kEdit
                    : extra == ExtraInput::kPhoto ? mode == Mode::kEdit
                                                  : mode == Mode::kInpaint;
  if (fits) return absl::OkStatus();
  const char* kind = extra == ExtraInput::kNone
                         ? "renders text-to-image, image-to-image and inpaint"
                     : extra == ExtraInput::kPhoto ? "edits photos: its mode is edit"
                                                   : "fills in masks: its mode is inpaint";
  return absl::InvalidArgumentError(absl::StrCat("mode ", NameOf(mode), ": this model ", kind));
}

absl::Status CheckPresence(const char* name, const RgbView& picture, bool wanted, Mode mode) {
  if (!wanted && !picture.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("mode ", NameOf(mode), " takes no ", name));
  }
  return wanted ? CheckPhoto(name, picture) : absl::OkStatus();
}

// Runs the encoder and scales what it gives for the UNet.
struct PhotoReader {
  Pipeline& pipeline;
  LatentSize size;
  uint64_t seed;
  Tiling tiling;

  absl::StatusOr<std::vector<float>> Sample(std::span<const float> planar, uint32_t stream) const {
    std::vector<float> moments;
    TS_RETURN_IF_ERROR(pipeline.coder().Encode(size, planar, &moments, tiling));
    std::vector<float> noise(pipeline.LatentFloats(size));
    FillNormal(seed, stream, noise);
    return pipeline.coder().Sampled(moments, noise);
  }
};

std::vector<float> Mixed(const NoiseMix& mix, std::span<const float> clean,
                         std::span<const float> noise) {
  std::vector<float> latent(clean.size());
  for (size_t i = 0; i < latent.size(); ++i)
    latent[i] = mix.signal * clean[i] + mix.noise * noise[i];
  return latent;
}

// Of each latent cell the pixel at its corner, as torch's nearest interpolation takes it.
std::vector<float> LatentMask(std::span<const uint8_t> mask, LatentSize size, int scale) {
  std::vector<float> cells(int64_t{size.height} * size.width);
  for (int64_t i = 0; i < static_cast<int64_t>(cells.size()); ++i) {
    const int64_t y = i / size.width * scale, x = i % size.width * scale;
    cells[i] = mask[y * size.width * scale + x];
  }
  return cells;
}

// The photo with grey, 0, where the mask wants something new.
std::vector<float> Masked(std::vector<float> planar, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < planar.size(); ++i) {
    if (mask[i % mask.size()] != 0) planar[i] = 0;
  }
  return planar;
}

}  // namespace

namespace {

absl::Status CheckControls(const RenderRequest& request, size_t controls) {
  if (request.controls.size() != controls) {
    return absl::InvalidArgumentError(absl::StrCat("controls: ", request.controls.size(),
                                                   " pictures for ", controls,
                                                   " ControlNets; each takes one"));
  }
  for (size_t i = 0; i < controls; ++i) {
    const ControlPicture& control = request.controls[i];
    const std::string name = absl::StrCat("controls[", i, "]");
    TS_RETURN_IF_ERROR(CheckPhoto((name + ".picture").c_str(), control.picture));
    if (control.start >= 0 && control.start < control.end && control.end <= 1) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ": start ", control.start, " and end ",
                                                   control.end,
                                                   "; they must be 0 to 1, start first"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMode(const RenderRequest& request, const ModelConfig& config, size_t controls) {
  TS_RETURN_IF_ERROR(CheckModel(request.mode, config.extra_input));
  const bool wants_photo = request.mode != Mode::kTextToImage,
             wants_mask = request.mode == Mode::kInpaint;
  TS_RETURN_IF_ERROR(CheckPresence("photo", request.photo, wants_photo, request.mode));
  TS_RETURN_IF_ERROR(CheckPresence("mask", request.mask, wants_mask, request.mode));
  if (wants_mask &&
      (request.mask.width != request.photo.width || request.mask.height != request.photo.height)) {
    return absl::InvalidArgumentError(
        absl::StrCat("mask is ", request.mask.width, "x", request.mask.height, ", photo is ",
                     request.photo.width, "x", request.photo.height, "; they must be of one size"));
  }
  if (!(request.strength > 0 && request.strength <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("strength is ", request.strength, "; it must be above 0 and at most 1"));
  }
  TS_RETURN_IF_ERROR(CheckControls(request, controls));
  const double guidance = request.image_guidance_scale;
  if (!(guidance >= 0 && guidance <= kMaxImageGuidance)) {
    return absl::InvalidArgumentError(absl::StrCat("image_guidance_scale is ", guidance,
                                                   "; it must be 0 to ", kMaxImageGuidance));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Hint>> FindHints(const RenderRequest& request, int steps,
                                            Pipeline& pipeline) {
  const int scale = pipeline.model().config.vae.scale();
  std::vector<Hint> hints;
  for (size_t i = 0; i < request.controls.size(); ++i) {
    const ControlPicture& control = request.controls[i];
    Hint& hint = hints.emplace_back();
    // As in diffusers: those steps that begin at `start` or after it and are over by `end`.
    const auto over = [&](int step) { return static_cast<double>(step) / steps; };
    while (hint.first < steps && over(hint.first) < control.start) ++hint.first;
    for (hint.end = hint.first; hint.end < steps && over(hint.end + 1) <= control.end;) ++hint.end;
    if (hint.first == hint.end) {
      return absl::InvalidArgumentError(
          absl::StrCat("controls[", i, "]: start ", control.start, " to end ", control.end,
                       " holds none of ", steps, " steps; widen it, or take more steps"));
    }
    const RgbImage picture = Resized(control.picture, {request.width, request.height});
    TS_ASSIGN_OR_RETURN(hint.buffer,
                        pipeline.Hint(i, {request.height / scale, request.width / scale},
                                      ToPlanar(picture.view())));
  }
  return hints;
}

absl::StatusOr<StartingPoint> FindStart(const RenderRequest& request, const Sampler& sampler,
                                        Pipeline& pipeline) {
  const ModelConfig& config = pipeline.model().config;
  const LatentSize size = {request.height / config.vae.scale(), request.width / config.vae.scale()};
  StartingPoint start;
  start.noise.resize(pipeline.LatentFloats(size));
  FillNormal(request.seed, 0, start.noise);
  const auto pure_noise = [&] {
    return Mixed({0, sampler.initial_noise_sigma()}, start.noise, start.noise);
  };
  if (request.mode == Mode::kTextToImage) {
    start.latent = pure_noise();
    return start;
  }

  const PhotoReader reader{pipeline, size, request.seed, request.tiling};
  const RgbImage photo = Resized(request.photo, {request.width, request.height});
  const std::vector<float> planar = ToPlanar(photo.view());
  if (request.mode == Mode::kEdit) {
    // The means as they are: what the editing model was trained with is not scaled.
    std::vector<float> moments;
    TS_RETURN_IF_ERROR(pipeline.coder().Encode(size, planar, &moments, request.tiling));
    start.extra.assign(moments.begin(), moments.begin() + start.noise.size());
    start.latent = pure_noise();
    return start;
  }

  const bool inpaint = request.mode == Mode::kInpaint;
  const bool blend = inpaint && config.extra_input == ExtraInput::kNone;
  const bool from_noise = inpaint && request.strength == 1;
  if (!from_noise || blend) {
    TS_ASSIGN_OR_RETURN(start.clean, reader.Sample(planar, kPhotoStream));
  }
  start.latent = from_noise ? pure_noise() : Mixed(sampler.MixAt(0), start.clean, start.noise);
  if (!inpaint) return start;

  const std::vector<uint8_t> mask =
      ToMask(Resized(request.mask, {request.width, request.height}).view());
  std::vector<float> cells = LatentMask(mask, size, config.vae.scale());
  if (blend) {
    start.mask = std::move(cells);
    return start;
  }
  TS_ASSIGN_OR_RETURN(const std::vector<float> masked,
                      reader.Sample(Masked(planar, mask), kMaskedPhotoStream));
  start.extra = std::move(cells);
  start.extra.insert(start.extra.end(), masked.begin(), masked.end());
  return start;
}

}  // namespace tiltshift::engine
