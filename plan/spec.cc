#include "plan/spec.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "plan/entry_table.h"
#include "plan/limits.h"
#include "plan/yaml_tree.h"

namespace tiltshift::plan {
namespace {

// What may stand at one place of the spec: the name of each field and what reads it.
using Reader = std::function<absl::Status(const YamlNode& node, const std::string& path)>;
using Fields = std::map<std::string, Reader>;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string Suggest(const std::string& word, const std::vector<std::string>& known) {
  if (word.size() <= kLongestName) {
    for (const auto& candidate : known) {
      if (EditDistance(word, candidate) <= 2)
        return absl::StrCat("; did you mean ", candidate, "?");
    }
  }
  return absl::StrCat("; known are: ", absl::StrJoin(known, ", "));
}

class SpecReader {
 public:
  SpecReader(std::string name, std::string folder, PhotoCheck check_photo)
      : name_(std::move(name)), folder_(std::move(folder)), check_photo_(std::move(check_photo)) {}

  absl::StatusOr<SpecFile> Read(const YamlNode& root) {
    SpecFile file;
    v1::JobSpec& spec = file.spec;
    auto& render = *spec.mutable_render();
    auto& output = *spec.mutable_output();
    const Fields render_fields = {
        {"width", Number<uint32_t>([&](uint32_t v) { render.set_width(v); })},
        {"height", Number<uint32_t>([&](uint32_t v) { render.set_height(v); })},
        {"steps", Number<uint32_t>([&](uint32_t v) { render.set_steps(v); })},
        {"seed", Number<uint64_t>([&](uint64_t v) { render.set_seed(v); }, /*zero_is_fine=*/true)},
        {"guidance_scale", Guidance(render)},
        {"strength", Fraction(1, [&](double v) { render.set_strength(v); }, false)},
        {"image_guidance_scale",
         Fraction(kLargestGuidance, [&](double v) { render.set_image_guidance_scale(v); }, false)},
        {"clip_skip", Number<uint32_t>([&](uint32_t v) { render.set_clip_skip(v); }, true)},
        {"sampler", Word<v1::Sampler>({{"ddim", v1::SAMPLER_DDIM},
                                       {"euler", v1::SAMPLER_EULER},
                                       {"euler_a", v1::SAMPLER_EULER_A},
                                       {"dpmpp_2m", v1::SAMPLER_DPMPP_2M},
                                       {"dpmpp_2m_karras", v1::SAMPLER_DPMPP_2M_KARRAS},
                                       {"lcm", v1::SAMPLER_LCM}},
                                      [&](v1::Sampler v) { render.set_sampler(v); })},
        {"precision",
         Word<v1::Precision>({{"bf16", v1::PRECISION_BF16}, {"fp32", v1::PRECISION_FP32}},
                             [&](v1::Precision v) { render.set_precision(v); })},
    };
    const Fields output_fields = {
        {"format", Word<v1::ImageFormat>({{"png", v1::IMAGE_FORMAT_PNG}},
                                         [&](v1::ImageFormat v) { output.set_format(v); })},
        {"name", Text([&](const std::string& v) { output.set_name(v); })},
        {"owner", Text([&](const std::string& v) { output.set_owner(v); })},
        {"license", Text([&](const std::string& v) { output.set_license(v); })},
        {"tell", [&](const YamlNode& node,
                     const std::string& path) { return ReadTell(node, path, output); }},
    };
    EntryTableOptions entries;
    const Fields entries_fields = {
        {"file", Text([&](const std::string& v) { entries.file = v; })},
        {"on_invalid",
         Word<bool>({{"reject", false}, {"skip", true}}, [&](bool v) { entries.skip_bad = v; })},
        {"per_author",
         Number<uint32_t>([&](uint32_t v) { spec.mutable_contest()->set_per_author(v); })},
    };
    int entries_line = 0;
    const Fields requires_fields = {
        {"device", Text([&](const std::string& v) { spec.mutable_requirements()->set_device(v); })},
        {"memory_mb",
         Number<uint64_t>([&](uint64_t v) { spec.mutable_requirements()->set_memory_mb(v); })},
    };
    const Fields fields = {
        {"kind",
         Word<v1::JobKind>({{"campaign", v1::JOB_KIND_CAMPAIGN}, {"contest", v1::JOB_KIND_CONTEST}},
                           [&](v1::JobKind v) { spec.set_kind(v); })},
        {"name", Text([&](const std::string& v) { spec.set_name(v); })},
        {"model", Text([&](const std::string& v) { spec.set_model(v); })},
        {"loras", [&](const YamlNode& node,
                      const std::string& path) { return ReadLoras(node, path, spec); }},
        {"controls", [&](const YamlNode& node,
                         const std::string& path) { return ReadControls(node, path, spec); }},
        {"photo", Text([&](const std::string& v) { spec.set_photo(v); })},
        {"mask", Text([&](const std::string& v) { spec.set_mask(v); })},
        {"photo_ttl", Duration([&](int64_t v) { spec.set_photo_ttl_seconds(v); })},
        {"prompt", Text([&](const std::string& v) { spec.set_prompt(v); })},
        {"negative_prompt", Text([&](const std::string& v) { spec.set_negative_prompt(v); })},
        {"tenant", Text([&](const std::string& v) { spec.set_tenant(v); })},
        {"priority", Number<int32_t>([&](int32_t v) { spec.set_priority(v); }, true)},
        {"deadline", Time([&](int64_t v) { spec.set_deadline_unix_ms(v); })},
        {"reproducible",
         Word<bool>({{"strict", true}, {"any", false}}, [&](bool v) { spec.set_strict(v); })},
        {"requires", [&](const YamlNode& node,
                         const std::string& path) { return ReadMap(node, path, requires_fields); }},
        {"combine", Text([&](const std::string& v) { spec.set_combine(v); })},
        {"entries",
         [&](const YamlNode& node, const std::string& path) {
           entries_line = node.line;
           if (node.kind != YamlNode::Kind::kScalar) return ReadMap(node, path, entries_fields);
           entries.file = node.scalar;
           return absl::OkStatus();
         }},
        {"axes",
         [&](const YamlNode& node, const std::string& path) { return ReadAxes(node, path, spec); }},
        {"render", [&](const YamlNode& node,
                       const std::string& path) { return ReadMap(node, path, render_fields); }},
        {"output", [&](const YamlNode& node,
                       const std::string& path) { return ReadMap(node, path, output_fields); }},
    };
    TS_RETURN_IF_ERROR(ReadMap(root, "", fields));
    TS_RETURN_IF_ERROR(CheckPhotos({spec.photo(), spec.mask()}));
    if (entries_line == 0) return file;
    entries.check_photo = check_photo_;
    if (entries.file.empty())
      return YamlError(name_, entries_line, "entries: name the table: {file: entries.csv}");
    TS_ASSIGN_OR_RETURN(EntryTable table, ReadEntryTable(spec, entries, folder_));
    for (const v1::Entries& batch : table.batches) AddBatch(batch, "", spec);
    file.batches = std::move(table.batches);
    file.skipped = std::move(table.skipped);
    return file;
  }

 private:
  absl::Status Error(const YamlNode& node, const std::string& path, const std::string& what) const {
    return YamlError(name_, node.line, path.empty() ? what : absl::StrCat(path, ": ", what));
  }

  absl::Status CheckPhotos(const PhotoNames& names) const {
    if ((names.photo.empty() && names.mask.empty()) || check_photo_ == nullptr)
      return absl::OkStatus();
    const std::string why = check_photo_(folder_, {names})[0];
    return why.empty() ? absl::OkStatus()
                       : absl::InvalidArgumentError(absl::StrCat(name_, ": ", why));
  }

  absl::Status ReadMap(const YamlNode& node, const std::string& path, const Fields& fields) const {
    if (node.kind != YamlNode::Kind::kMap) {
      std::vector<std::string> known;
      for (const auto& [field, reader] : fields) known.push_back(field);
      return Error(node, path, absl::StrCat("expected fields (", absl::StrJoin(known, ", "), ")"));
    }
    for (const auto& [key, value] : node.fields) {
      const std::string at = path.empty() ? key : absl::StrCat(path, ".", key);
      const auto field = fields.find(key);
      if (field == fields.end()) {
        std::vector<std::string> known;
        for (const auto& [name, reader] : fields) known.push_back(name);
        return Error(value, at, "unknown field" + Suggest(key, known));
      }
      TS_RETURN_IF_ERROR(field->second(value, at));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Scalar(const YamlNode& node, const std::string& path) const {
    if (node.kind != YamlNode::Kind::kScalar) return Error(node, path, "expected a single value");
    return node.scalar;
  }

  Reader Text(std::function<void(const std::string&)> set) const {
    return [this, set](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      set(text);
      return absl::OkStatus();
    };
  }

  template <typename Int>
  Reader Number(std::function<void(Int)> set, bool zero_is_fine = false) const {
    return
        [this, set, zero_is_fine](const YamlNode& node, const std::string& path) -> absl::Status {
          TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
          Int value;
          if (!absl::SimpleAtoi(text, &value) || (value == 0 && !zero_is_fine)) {
            return Error(node, path,
                         absl::StrCat("\"", text, "\" is not a whole number",
                                      zero_is_fine ? " from 0 up" : " above 0"));
          }
          set(value);
          return absl::OkStatus();
        };
  }

  Reader Time(std::function<void(int64_t)> set) const {
    return [this, set](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      absl::Time time;
      std::string unused;
      if (!absl::ParseTime(absl::RFC3339_full, text, &time, &unused)) {
        return Error(node, path,
                     absl::StrCat("\"", text, "\" is no time like 2026-12-24T18:00:00Z"));
      }
      set(absl::ToUnixMillis(time));
      return absl::OkStatus();
    };
  }

  Reader Duration(std::function<void(int64_t)> set) const {
    return [this, set](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      const std::map<char, int64_t> units = {{'s', 1}, {'m', 60}, {'h', 3'600}, {'d', 86'400}};
      const auto unit = units.find(text.empty() ? ' ' : text.back());
      int64_t count = 0;
      if (unit == units.end() || !absl::SimpleAtoi(text.substr(0, text.size() - 1), &count) ||
          count < 1 || count > kLongestPhotoTtlSeconds / unit->second)
        return Error(node, path, absl::StrCat("\"", text, "\" is no time like 30m, 12h or 7d"));
      set(count * unit->second);
      return absl::OkStatus();
    };
  }

  Reader Guidance(v1::RenderSettings& render) const {
    return [this, &render](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      double value;
      if (!absl::SimpleAtod(text, &value) || !(value >= 1 && value <= kLargestGuidance)) {
        return Error(
            node, path,
            absl::StrCat(
                "\"", text,
                "\" is not a number from 1 (no guidance, which some model cards call 0) to ",
                kLargestGuidance));
      }
      render.set_guidance_scale(value);
      return absl::OkStatus();
    };
  }

  template <typename Enum>
  Reader Word(std::map<std::string, Enum> words, std::function<void(Enum)> set) const {
    return [this, words, set](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      const auto found = words.find(text);
      if (found == words.end()) {
        std::vector<std::string> known;
        for (const auto& [word, value] : words) known.push_back(word);
        return Error(node, path,
                     absl::StrCat("unknown value \"", text, "\"", Suggest(text, known)));
      }
      set(found->second);
      return absl::OkStatus();
    };
  }

  absl::Status ReadLoras(const YamlNode& node, const std::string& path, v1::JobSpec& spec) const {
    if (node.kind != YamlNode::Kind::kList)
      return Error(node, path, "expected a list: [{name: toy, weight: 0.8}]");
    for (size_t i = 0; i < node.items.size(); ++i) {
      v1::Lora& lora = *spec.add_loras();
      TS_RETURN_IF_ERROR(ReadMap(node.items[i], absl::StrCat(path, "[", i, "]"),
                                 {{"name", Text([&](const std::string& v) { lora.set_name(v); })},
                                  {"weight", LoraWeight(lora)}}));
    }
    return absl::OkStatus();
  }

  absl::Status ReadControls(const YamlNode& node, const std::string& path,
                            v1::JobSpec& spec) const {
    if (node.kind != YamlNode::Kind::kList)
      return Error(node, path, "expected a list: [{name: canny, picture: edges.png, scale: 0.8}]");
    for (size_t i = 0; i < node.items.size(); ++i) {
      v1::Control& control = *spec.add_controls();
      TS_RETURN_IF_ERROR(ReadMap(
          node.items[i], absl::StrCat(path, "[", i, "]"),
          {{"name", Text([&](const std::string& v) { control.set_name(v); })},
           {"picture", [&](const YamlNode& file,
                           const std::string& at) { return ReadPicture(file, at, control); }},
           {"scale", Fraction(kLargestControlScale, [&](double v) { control.set_scale(v); })},
           {"start", Fraction(1, [&](double v) { control.set_start(v); })},
           {"end", Fraction(1, [&](double v) { control.set_end(v); })}}));
    }
    return absl::OkStatus();
  }

  absl::Status ReadPicture(const YamlNode& node, const std::string& path,
                           v1::Control& control) const {
    TS_ASSIGN_OR_RETURN(const std::string file, Scalar(node, path));
    auto bytes = ReadFile((std::filesystem::path(folder_) / file).string(), kLargestPictureBytes);
    if (!bytes.ok()) return Error(node, path, std::string(bytes.status().message()));
    control.set_picture(*std::move(bytes));
    return absl::OkStatus();
  }

  Reader Fraction(double largest, std::function<void(double)> set, bool zero_is_fine = true) const {
    return [this, largest, set, zero_is_fine](const YamlNode& node,
                                              const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      double value;
      if (!absl::SimpleAtod(text, &value) || !(value >= 0 && value <= largest) ||
          (value == 0 && !zero_is_fine)) {
        return Error(node, path,
                     absl::StrCat("\"", text, "\" is not a number ",
                                  zero_is_fine ? "from 0 to " : "above 0 and up to ", largest));
      }
      set(value);
      return absl::OkStatus();
    };
  }

  Reader LoraWeight(v1::Lora& lora) const {
    return [this, &lora](const YamlNode& node, const std::string& path) -> absl::Status {
      TS_ASSIGN_OR_RETURN(const std::string text, Scalar(node, path));
      double value;
      if (!absl::SimpleAtod(text, &value) || !(std::abs(value) <= kLargestLoraWeight)) {
        return Error(node, path,
                     absl::StrCat("\"", text, "\" is not a number from -", kLargestLoraWeight,
                                  " to ", kLargestLoraWeight));
      }
      if (value == 0) return Error(node, path, "0 changes nothing: leave this LoRA out");
      lora.set_weight(value);
      return absl::OkStatus();
    };
  }

  // What of the words and names behind a picture goes into it.
  absl::Status ReadTell(const YamlNode& node, const std::string& path,
                        v1::OutputSettings& output) const {
    if (node.kind != YamlNode::Kind::kList)
      return Error(node, path, "expected a list: [prompt, author]");
    const Reader word = Word<int>({{"prompt", 0}, {"author", 1}}, [&](int which) {
      which == 0 ? output.set_tell_prompt(true) : output.set_tell_author(true);
    });
    for (size_t i = 0; i < node.items.size(); ++i)
      TS_RETURN_IF_ERROR(word(node.items[i], absl::StrCat(path, "[", i, "]")));
    return absl::OkStatus();
  }

  absl::Status ReadAxes(const YamlNode& node, const std::string& path, v1::JobSpec& spec) const {
    if (node.kind != YamlNode::Kind::kMap)
      return Error(node, path, "expected axes, each with its values: color: [red, blue]");
    for (const auto& [name, values] : node.fields) {
      v1::Axis& axis = *spec.add_axes();
      axis.set_name(name);
      TS_RETURN_IF_ERROR(ReadAxis(values, absl::StrCat(path, ".", name), axis));
    }
    return absl::OkStatus();
  }

  absl::Status ReadAxis(const YamlNode& node, const std::string& path, v1::Axis& axis) const {
    if (node.kind == YamlNode::Kind::kList) {
      for (size_t i = 0; i < node.items.size(); ++i) {
        TS_ASSIGN_OR_RETURN(const std::string value,
                            Scalar(node.items[i], absl::StrCat(path, "[", i, "]")));
        axis.mutable_list()->add_values(value);
      }
      if (node.items.empty()) return Error(node, path, "an axis needs at least one value");
      return absl::OkStatus();
    }
    if (node.kind != YamlNode::Kind::kMap || node.fields.size() != 1) {
      return Error(node, path, "expected a list of values, {range: 1-10} or {file: values.txt}");
    }
    return ReadMap(node, path,
                   {{"range", Text([&](const std::string& range) { axis.set_range(range); })},
                    {"file", [&](const YamlNode& file, const std::string& at) {
                       return ReadValuesFile(file, at, axis);
                     }}});
  }

  absl::Status ReadValuesFile(const YamlNode& node, const std::string& path, v1::Axis& axis) const {
    TS_ASSIGN_OR_RETURN(const std::string file, Scalar(node, path));
    const auto text = ReadFile((std::filesystem::path(folder_) / file).string(), kLargestSpecBytes);
    if (!text.ok()) return Error(node, path, std::string(text.status().message()));
    for (size_t start = text->starts_with("\xef\xbb\xbf") ? 3 : 0; start < text->size();) {
      const size_t end = std::min(text->find('\n', start), text->size());
      std::string line = text->substr(start, end - start);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty()) axis.mutable_list()->add_values(line);
      start = end + 1;
    }
    if (axis.list().values().empty())
      return Error(node, path, absl::StrCat(file, " holds no values; write one a line"));
    return absl::OkStatus();
  }

  const std::string name_;
  const std::string folder_;
  const PhotoCheck check_photo_;
};

}  // namespace

absl::StatusOr<SpecFile> ParseSpec(std::string_view text, const std::string& name,
                                   const std::string& folder, const PhotoCheck& check_photo) {
  if (text.size() > kLargestSpecBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": larger than ", kLargestSpecBytes,
                                                   " bytes; put long axes into files"));
  }
  TS_ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, name));
  return SpecReader(name, folder, check_photo).Read(root);
}

absl::StatusOr<SpecFile> LoadSpec(const std::string& path, const PhotoCheck& check_photo) {
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLargestSpecBytes));
  return ParseSpec(text, path, std::filesystem::path(path).parent_path().string(),
                   check_photo);
}

}  // namespace tiltshift::plan
