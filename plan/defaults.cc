#include "plan/defaults.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <set>

#include "plan/entries.h"
#include "plan/limits.h"
#include "plan/photo_id.h"
#include "plan/png_header.h"
#include "plan/text.h"

namespace tiltshift::plan {
namespace {

constexpr uint32_t kDefaultSide = 256;
constexpr uint32_t kDefaultSteps = 20;
constexpr double kDefaultGuidance = 4;
constexpr double kUsualStrength = 0.8;
constexpr double kUsualImageGuidance = 1.5;

absl::Status Bad(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

// A model is a folder of the model folder, a LoRA a file: nothing that could climb out of it.
absl::Status CheckFileName(const std::string& path, const std::string& what,
                           const std::string& name) {
  if (name.size() > kLongestName || name.empty() || name[0] == '.')
    return Bad(path, absl::StrCat("is no ", what, "'s name"));
  if (std::all_of(name.begin(), name.end(), IsNameCharacter)) return absl::OkStatus();
  return Bad(path, absl::StrCat("\"", name, "\" is no ", what,
                                "'s name: letters, digits, '.', '_' and '-'"));
}

// "canny", or "my-sd15/controlnet" of a model's own folder.
absl::Status CheckControlName(const std::string& path, const std::string& name) {
  const size_t slash = name.find('/');
  if (slash != std::string::npos)
    TS_RETURN_IF_ERROR(CheckFileName(path, "ControlNet", name.substr(slash + 1)));
  return CheckFileName(path, "ControlNet", name.substr(0, slash));
}

absl::Status CheckModel(const std::string& model) {
  if (model.empty()) return Bad("model", "is missing; the built-in one is called diorama");
  return CheckFileName("model", "model", model);
}

absl::Status FillLoras(v1::JobSpec& spec) {
  if (spec.loras_size() > kMostLoras) return Bad("loras", absl::StrCat("more than ", kMostLoras));
  std::set<std::string> names;
  for (int i = 0; i < spec.loras_size(); ++i) {
    v1::Lora& lora = *spec.mutable_loras(i);
    const std::string path = absl::StrCat("loras[", i, "]");
    TS_RETURN_IF_ERROR(CheckFileName(path + ".name", "LoRA", lora.name()));
    if (!names.insert(lora.name()).second)
      return Bad(path,
                 absl::StrCat(lora.name(),
                              " is there already; name it once, with the sum of the weights"));
    if (lora.weight() == 0) lora.set_weight(1);
    if (!(std::abs(lora.weight()) <= kLargestLoraWeight)) {
      return Bad(path + ".weight", absl::StrCat(lora.weight(), " is not from -", kLargestLoraWeight,
                                                " to ", kLargestLoraWeight));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPicture(const std::string& path, const std::string& png) {
  if (png.empty()) return Bad(path, "is missing; name a PNG file that says what goes where");
  if (png.size() > kLargestPictureBytes) {
    return Bad(path, absl::StrCat("has ", png.size(), " bytes; the limit is ", kLargestPictureBytes,
                                  ", and the render's own size is enough"));
  }
  const auto size = ReadPngSize(png);
  if (!size.ok()) return Annotate(size.status(), path);
  const uint32_t longest = std::max(size->width, size->height);
  if (size->width == 0 || size->height == 0 || longest > kLongestPictureSide ||
      uint64_t{size->width} * size->height > kMostPicturePixels) {
    return Bad(path, absl::StrCat("is ", size->width, "x", size->height, "; it must be 1x1 to ",
                                  kLongestPictureSide, " a side and have at most ",
                                  kMostPicturePixels, " pixels"));
  }
  return absl::OkStatus();
}

absl::Status FillControls(v1::JobSpec& spec) {
  if (spec.controls_size() > kMostControls)
    return Bad("controls", absl::StrCat("more than ", kMostControls));
  for (int i = 0; i < spec.controls_size(); ++i) {
    v1::Control& control = *spec.mutable_controls(i);
    const std::string path = absl::StrCat("controls[", i, "]");
    TS_RETURN_IF_ERROR(CheckControlName(path + ".name", control.name()));
    TS_RETURN_IF_ERROR(CheckPicture(path + ".picture", control.picture()));
    if (!control.has_scale()) control.set_scale(1);
    if (!control.has_end()) control.set_end(1);
    if (!(control.scale() > 0 && control.scale() <= kLargestControlScale)) {
      return Bad(path + ".scale",
                 absl::StrCat(control.scale(), " is not above 0 and up to ", kLargestControlScale));
    }
    if (!(control.start() >= 0 && control.start() < control.end() && control.end() <= 1)) {
      return Bad(path, absl::StrCat("start ", control.start(), " and end ", control.end(),
                                    " are no part of the steps: from 0 to 1, start first"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTenant(const std::string& tenant) {
  const bool good = tenant.size() <= kLongestName &&
                    std::all_of(tenant.begin(), tenant.end(), IsNameCharacter);
  if (good) return absl::OkStatus();
  return Bad("tenant", absl::StrCat("\"", tenant, "\" is no tenant's name: up to ", kLongestName,
                                    " letters, digits, '.', '_' and '-'"));
}

absl::Status CheckSide(const char* path, uint32_t side) {
  if (side < kSmallestSide || side > kLargestSide || side % 8 != 0) {
    return Bad(path, absl::StrCat(side, " is not a multiple of 8 from ", kSmallestSide, " to ",
                                  kLargestSide));
  }
  return absl::OkStatus();
}

absl::Status FillRender(v1::RenderSettings& render) {
  if (render.width() == 0) render.set_width(kDefaultSide);
  if (render.height() == 0) render.set_height(kDefaultSide);
  if (render.steps() == 0) render.set_steps(kDefaultSteps);
  if (render.guidance_scale() == 0) render.set_guidance_scale(kDefaultGuidance);
  TS_RETURN_IF_ERROR(CheckSide("render.width", render.width()));
  TS_RETURN_IF_ERROR(CheckSide("render.height", render.height()));
  if (render.steps() > kMostSteps)
    return Bad("render.steps", absl::StrCat(render.steps(), " is more than ", kMostSteps));
  const double guidance = render.guidance_scale();
  if (!std::isfinite(guidance) || guidance < 1 || guidance > kLargestGuidance) {
    return Bad("render.guidance_scale",
               absl::StrCat(guidance, " is not from 1 (no guidance) to ", kLargestGuidance));
  }
  if (render.clip_skip() > kMostClipSkip)
    return Bad("render.clip_skip",
               absl::StrCat(render.clip_skip(), " is more than ", kMostClipSkip));
  if (!v1::Sampler_IsValid(render.sampler()))
    return Bad("render.sampler",
               "is none this farm knows: ddim, euler, euler_a, dpmpp_2m, dpmpp_2m_karras, lcm");
  if (!v1::Precision_IsValid(render.precision()))
    return Bad("render.precision", "is none this farm knows: bf16, fp32");
  return absl::OkStatus();
}

absl::Status FillPhoto(v1::JobSpec& spec) {
  v1::RenderSettings& render = *spec.mutable_render();
  if (!HasPhotos(spec)) {
    const std::string none = "there is no photo; name one: photo: me.jpg, or a column photo";
    if (render.strength() != 0) return Bad("render.strength", none);
    if (render.image_guidance_scale() != 0) return Bad("render.image_guidance_scale", none);
    if (HasMasks(spec)) return Bad("mask", none);
    return spec.photo_ttl_seconds() == 0 ? absl::OkStatus() : Bad("photo_ttl", none);
  }
  if (spec.has_contest() && !spec.photo().empty())
    return Bad("photo", "a contest's photos are in its entries, in the column photo");
  if (spec.has_contest() && !spec.mask().empty())
    return Bad("mask", "a contest's masks are in its entries, in the column mask");
  TS_RETURN_IF_ERROR(CheckText("photo", spec.photo(), kLongestValue));
  TS_RETURN_IF_ERROR(CheckText("mask", spec.mask(), kLongestValue));
  if (render.strength() == 0) render.set_strength(kUsualStrength);
  if (!(render.strength() > 0 && render.strength() <= 1)) {
    return Bad("render.strength",
               absl::StrCat(render.strength(), " is not above 0 (the photo as it is) and up to 1"));
  }
  if (render.image_guidance_scale() == 0) render.set_image_guidance_scale(kUsualImageGuidance);
  if (!(render.image_guidance_scale() >= 1 && render.image_guidance_scale() <= kLargestGuidance)) {
    return Bad("render.image_guidance_scale",
               absl::StrCat(render.image_guidance_scale(), " is not from 1 to ", kLargestGuidance));
  }
  if (spec.photo_ttl_seconds() == 0) spec.set_photo_ttl_seconds(kUsualPhotoTtlSeconds);
  if (spec.photo_ttl_seconds() < 1 || spec.photo_ttl_seconds() > kLongestPhotoTtlSeconds)
    return Bad("photo_ttl", "is not from 1s to 366d");
  return absl::OkStatus();
}

bool HasColumn(const v1::JobSpec& spec, const std::string& name) {
  const auto& columns = spec.contest().columns();
  return std::any_of(columns.begin(), columns.end(),
                     [&](const v1::EntryColumn& column) { return column.name() == name; });
}

absl::Status CheckContest(v1::JobSpec& spec) {
  const bool is_contest = spec.kind() == v1::JOB_KIND_CONTEST;
  if (!is_contest && spec.kind() != v1::JOB_KIND_CAMPAIGN)
    return Bad("kind", "is neither campaign nor contest");
  if (is_contest && spec.contest().batches().empty())
    return Bad("entries", "are missing; a contest has a table of them: entries: entries.csv");
  if (!is_contest && spec.has_contest())
    return Bad("entries", "a campaign has none; write kind: contest");
  const auto& batches = spec.contest().batches();
  if (std::any_of(batches.begin(), batches.end(), [](const auto& b) { return b.entries() == 0; }))
    return Bad("entries", "a batch without entries");
  if (static_cast<size_t>(batches.size()) > kMostBatches)
    return Bad("entries", absl::StrCat("more than ", kMostBatches, " batches"));
  if (EntryCount(spec) > kMostEntries)
    return Bad("entries", absl::StrCat("more than ", kMostEntries, "; make it two contests"));
  return absl::OkStatus();
}

}  // namespace

absl::Status FillAndCheck(v1::JobSpec& spec) {
  if (spec.kind() == v1::JOB_KIND_UNSPECIFIED) spec.set_kind(v1::JOB_KIND_CAMPAIGN);
  TS_RETURN_IF_ERROR(CheckContest(spec));
  if (spec.name().empty())
    return Bad("name", "is missing; name the job, for example \"summer-figurines\"");
  TS_RETURN_IF_ERROR(CheckText("name", spec.name(), kLongestName));
  TS_RETURN_IF_ERROR(CheckModel(spec.model()));
  TS_RETURN_IF_ERROR(FillLoras(spec));
  TS_RETURN_IF_ERROR(FillControls(spec));
  if (spec.prompt().empty()) {
    if (!HasColumn(spec, "prompt")) return Bad("prompt", "is missing; say what to render");
    spec.set_prompt("{prompt}");
  }
  TS_RETURN_IF_ERROR(CheckText("prompt", spec.prompt(), kLongestPrompt));
  TS_RETURN_IF_ERROR(CheckText("negative_prompt", spec.negative_prompt(), kLongestPrompt));
  TS_RETURN_IF_ERROR(CheckText("combine", spec.combine(), kLongestCombine));
  TS_RETURN_IF_ERROR(CheckText("output.name", spec.output().name(), kLongestPrompt));
  TS_RETURN_IF_ERROR(CheckText("output.owner", spec.output().owner(), kLongestRights));
  TS_RETURN_IF_ERROR(CheckText("output.license", spec.output().license(), kLongestRights));
  if (static_cast<size_t>(spec.axes_size()) > kMostAxes)
    return Bad("axes", absl::StrCat("more than ", kMostAxes));
  if (spec.ByteSizeLong() > kLargestJobBytes) {
    return Bad("axes",
               absl::StrCat("the values of all lists and files, and the pictures of controls, are ",
                            spec.ByteSizeLong(), " bytes; the limit is ", kLargestJobBytes,
                            ", so use ranges or split the job"));
  }
  TS_RETURN_IF_ERROR(FillRender(*spec.mutable_render()));
  TS_RETURN_IF_ERROR(FillPhoto(spec));
  if (spec.tenant().empty()) spec.set_tenant("default");
  TS_RETURN_IF_ERROR(CheckTenant(spec.tenant()));
  if (spec.priority() < -kHighestPriority || spec.priority() > kHighestPriority) {
    return Bad("priority", absl::StrCat(spec.priority(), " is not from ", -kHighestPriority, " to ",
                                        kHighestPriority));
  }
  if (const std::string& device = spec.requirements().device();
      !device.empty() && device != "cpu" && device != "cuda")
    return Bad("requires.device", absl::StrCat("\"", device, "\" is neither cpu nor cuda"));
  if (spec.requirements().memory_mb() > kMostMemoryMb)
    return Bad("requires.memory_mb", absl::StrCat("more than ", kMostMemoryMb));
  if (spec.deadline_unix_ms() < 0) return Bad("deadline", "is before 1970");
  if (spec.output().name().empty())
    spec.mutable_output()->set_name(spec.has_contest() ? "{id}" : "{index}");
  if (spec.output().format() == v1::IMAGE_FORMAT_UNSPECIFIED)
    spec.mutable_output()->set_format(v1::IMAGE_FORMAT_PNG);
  if (spec.output().format() != v1::IMAGE_FORMAT_PNG)
    return Bad("output.format", "only png is written by this version");
  return absl::OkStatus();
}

}  // namespace tiltshift::plan
