#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/format.h"
#include "plan/plan.h"
#include "plan/spec.h"

namespace tiltshift::cli {
namespace {

struct PlanOptions {
  Common common;
  std::string spec;
  std::optional<uint64_t> index;
  int examples = 3;
  double seconds = 0;  // a picture and slot; 0: by the settings
  int slots = 2;
};

nlohmann::json ToJson(const plan::Variant& variant) {
  nlohmann::json json = {{"index", variant.index},   {"parameters", variant.parameters},
                         {"prompt", variant.prompt}, {"negative_prompt", nullptr},
                         {"seed", variant.seed},     {"name", variant.output_name}};
  if (variant.negative_prompt) json["negative_prompt"] = *variant.negative_prompt;
  return json;
}

void Print(const plan::Variant& variant) {
  std::printf("  %-10s %s\n             %s (seed %s)\n", WithCommas(variant.index).c_str(),
              variant.output_name.c_str(), variant.prompt.c_str(),
              std::to_string(variant.seed).c_str());
}

// The first, the last, and evenly between.
std::vector<uint64_t> ExampleIndices(uint64_t count, int examples) {
  std::vector<uint64_t> indices;
  const uint64_t shown = std::min<uint64_t>(count, static_cast<uint64_t>(examples));
  for (uint64_t i = 0; i < shown; ++i)
    indices.push_back(
        shown == 1 ? 0
                   : static_cast<uint64_t>(static_cast<long double>(count - 1) * i / (shown - 1)));
  return indices;
}

// A picture on one slot: the built-in model on one AVX-512 core took 0.77 s for 256x256 in 20
// guided steps, and time grows with steps, pixels and forwards.
double EstimatedSeconds(const v1::RenderSettings& render) {
  constexpr double kMeasuredSeconds = 0.77, kMeasuredSteps = 20, kMeasuredPixels = 256.0 * 256.0;
  return kMeasuredSeconds * render.steps() / kMeasuredSteps *
         (static_cast<double>(render.width()) * render.height() / kMeasuredPixels) *
         (render.guidance_scale() == 1 ? 0.5 : 1.0);
}

absl::StatusOr<ExitCode> RunPlan(const PlanOptions& options) {
  TS_ASSIGN_OR_RETURN(const plan::SpecFile file, plan::LoadSpec(options.spec));
  TS_ASSIGN_OR_RETURN(const plan::Plan plan, plan::Plan::Create(file.spec));
  TellSkipped(file.skipped);
  const auto variant_at = [&](uint64_t index) {
    if (file.batches.empty()) return plan.At(index);
    return plan.At(index, plan::RowOf(file.batches, plan.EntryOf(index)));
  };
  if (options.index.has_value() && *options.index >= plan.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--index: ", *options.index, " is not below ", plan.count()));
  }
  const auto indices = options.index.has_value() ? std::vector<uint64_t>{*options.index}
                                                 : ExampleIndices(plan.count(), options.examples);
  const double picture_seconds =
      options.seconds > 0 ? options.seconds : EstimatedSeconds(plan.spec().render());
  const double seconds = static_cast<double>(plan.count()) * picture_seconds / options.slots;
  if (options.common.json) {
    nlohmann::json json = {{"name", plan.spec().name()},
                           {"variants", plan.count()},
                           {"estimated_seconds", seconds},
                           {"examples", nlohmann::json::array()}};
    for (const uint64_t index : indices) json["examples"].push_back(ToJson(variant_at(index)));
    std::printf("%s\n", json.dump().c_str());
    return kDone;
  }
  const auto& render = plan.spec().render();
  std::string model = plan.spec().model();
  for (const v1::Lora& lora : plan.spec().loras())
    absl::StrAppend(&model, " + ", lora.name(), ":", lora.weight());
  std::printf("%s: %s pictures of %ux%u, %u steps, with the model %s\n", plan.spec().name().c_str(),
              WithCommas(plan.count()).c_str(), render.width(), render.height(), render.steps(),
              model.c_str());
  std::printf("about %s on %d slots at %.2f s a picture (--seconds, --slots)\n\n",
              Duration(seconds).c_str(), options.slots, picture_seconds);
  for (const uint64_t index : indices) Print(variant_at(index));
  return kDone;
}

}  // namespace

void AddPlanCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan", "What a spec would render: how many pictures, examples, an estimate");
  command->footer(
      "Examples:\n  tiltshift plan campaign.yaml\n  tiltshift plan campaign.yaml --index 1234567 "
      "--json\n");
  command->add_option("spec", options->spec, "the campaign or contest, YAML or JSON")->required();
  command->add_option("--index", options->index, "show this variant");
  command->add_option("--examples", options->examples, "variants to show")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  command
      ->add_option(
          "--seconds", options->seconds,
          "what a picture takes on one slot; default: the built-in model's measured time, by "
          "steps, pixels and guidance")
      ->check(CLI::Range(0.001, 1e6));
  command->add_option("--slots", options->slots, "slots of the farm, for the estimate")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunPlan(*options); }; });
}

}  // namespace tiltshift::cli
