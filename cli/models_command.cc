// `tiltshift models`: what lies in a model folder, checked. The engine is the worker's: it is
// asked.
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/program.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/model_folder_option.h"
#include "cli/run_program.h"
#include "plan/model_folder.h"
#include "proto/models.pb.h"

namespace tiltshift::cli {
namespace {

struct ModelsOptions {
  Common common;
  std::string models;
  std::vector<std::string> names;
};

absl::StatusOr<v1::ModelFolder> AskWorker(const ModelsOptions& options) {
  std::vector<std::string> arguments = {ProgramBeside("tiltshift-worker"), "--models",
                                        options.models, "--describe-models"};
  for (const std::string& name : options.names)
    arguments.insert(arguments.end(), {"--model", name});
  const auto answer = RunProgram(arguments);
  if (!answer.ok()) return absl::InternalError(Message(answer.status()));
  v1::ModelFolder folder;
  google::protobuf::util::JsonParseOptions newer;
  newer.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(*answer, &folder, newer).ok()) {
    return absl::InternalError(absl::StrCat(
        arguments[0], " --describe-models did not answer in JSON: is it of another version?"));
  }
  return folder;
}

// "26.1 M", "860 M".
std::string Millions(uint64_t number) {
  const double millions = static_cast<double>(number) / 1e6;
  return absl::StrFormat(millions < 100 ? "%.1f M" : "%.0f M", millions);
}

std::string PartsLine(const v1::ModelDescription& model) {
  const std::string parts =
      absl::StrJoin(model.parts(), ", ", [](std::string* out, const v1::ModelPart& part) {
        absl::StrAppend(out, part.name(), " ", Millions(part.parameters()), " ", part.dtypes());
      });
  return absl::StrCat(Millions(model.parameters()), " parameters, ",
                      WithCommas(model.weight_bytes()), " bytes: ", parts);
}

std::string SizeLine(const v1::ModelDescription& model) {
  std::string line;
  if (model.native_size() != 0)
    absl::StrAppend(&line, "made for ", model.native_size(), "x", model.native_size(), ", ");
  absl::StrAppend(
      &line, "sizes are multiples of ", model.size_multiple(), "; sampler ",
      model.sampler().empty() ? "none of its own: the spec must name one" : model.sampler());
  return line;
}

// Prints lines, the first with the name before it.
auto LinesOf(const std::string& name) {
  return [name, first = true](const std::string& text) mutable {
    std::printf("  %-16s %s\n", first ? name.c_str() : "", text.c_str());
    first = false;
  };
}

void Print(const v1::LoraDescription& lora) {
  auto line = LinesOf(lora.name());
  if (!lora.usable()) return line("NOT USABLE: " + lora.problem());
  line(absl::StrCat(
      lora.changes(), ", ", WithCommas(lora.bytes()), " bytes; fits ",
      lora.fits().empty() ? "none of the models here" : absl::StrJoin(lora.fits(), ", ")));
  line("hash " + lora.hash());
}

void Print(const v1::ModelDescription& model) {
  auto line = LinesOf(model.name());
  if (!model.usable()) {
    line("NOT USABLE: " + model.problem());
    if (!model.advice().empty()) line(model.advice());
    return;
  }
  line(model.kind());
  line(SizeLine(model));
  line(PartsLine(model));
  line("render class " + model.render_class());
  line("hash " + model.hash());
  if (model.packed_bytes() > 0)
    line(absl::StrCat("packed weights are kept: ", WithCommas(model.packed_bytes()), " bytes"));
}

void Print(const v1::ControlDescription& control) {
  auto line = LinesOf(control.name());
  if (!control.usable()) {
    line("NOT USABLE: " + control.problem());
    if (!control.advice().empty()) line(control.advice());
    return;
  }
  line(absl::StrCat(
      control.kind(), "; fits ",
      control.fits().empty() ? "none of the models shown" : absl::StrJoin(control.fits(), ", ")));
  line(absl::StrCat(Millions(control.parameters()), " parameters ", control.dtypes(), ", ",
                    WithCommas(control.weight_bytes()), " bytes"));
  line("hash " + control.hash());
}

// "; FILE lies where ...", or nothing.
std::string FirstStray(const std::string& models) {
  const std::vector<std::string> strays = plan::StrayFiles(models);
  return strays.empty() ? "" : "; " + plan::StrayAdvice(strays[0]);
}

void Print(const ModelsOptions& options, const v1::ModelFolder& folder) {
  std::printf("models in %s:\n", folder.folder().c_str());
  for (const v1::ModelDescription& model : folder.models()) Print(model);
  if (!folder.loras().empty()) std::printf("LoRAs in %s/loras:\n", folder.folder().c_str());
  for (const v1::LoraDescription& lora : folder.loras()) Print(lora);
  if (!folder.controls().empty()) std::printf("ControlNets in %s:\n", folder.folder().c_str());
  for (const v1::ControlDescription& control : folder.controls()) Print(control);
  if (!options.names.empty()) return;
  for (const std::string& file : plan::StrayFiles(options.models))
    std::printf("%s\n", plan::StrayAdvice(file).c_str());
}

bool AllUsable(const v1::ModelFolder& folder) {
  return std::ranges::all_of(folder.models(), &v1::ModelDescription::usable) &&
         std::ranges::all_of(folder.controls(), &v1::ControlDescription::usable);
}

absl::StatusOr<ExitCode> RunModels(const ModelsOptions& options) {
  for (const std::string& name : options.names) {
    if (!plan::CheckControlIsThere(options.models, name).ok())
      TS_RETURN_IF_ERROR(plan::CheckModelIsThere(options.models, name));
  }
  if (options.names.empty() && plan::ModelNames(options.models).empty()) {
    return absl::NotFoundError(
        absl::StrCat("no models in ", options.models,
                     "; a model is a folder in it, in the layout of diffusers, with "
                     "model_index.json (--models names another folder)",
                     FirstStray(options.models)));
  }
  TS_ASSIGN_OR_RETURN(const v1::ModelFolder folder, AskWorker(options));
  if (options.common.json) {
    std::printf("%s\n", ToJson(folder).c_str());
  } else {
    Print(options, folder);
  }
  return options.names.empty() || AllUsable(folder) ? kDone : kOther;
}

}  // namespace

void AddModelsCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<ModelsOptions>();
  CLI::App* command = app.add_subcommand(
      "models",
      "What lies in the model folder: kind, size, hash; what is wrong with a damaged model");
  command->footer(
      "Examples:\n  tiltshift models\n  tiltshift models diorama --json\n"
      "  tiltshift models --models /srv/models my-model && echo it can be rendered\n"
      "Every tensor is read and checked. Ends with 5 where a model that was named, or a ControlNet "
      "in its folder, can't be used.\n");
  command->add_option("name", options->names,
                      "check these alone; default: every model of the folder");
  AddModelsOption(*command, options->models);
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunModels(*options); }; });
}

}  // namespace tiltshift::cli
