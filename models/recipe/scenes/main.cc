// tiltshift-scenes: draws the pictures and captions that the built-in model learns from.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/recipe/scenes/render.h"

namespace tiltshift::scenes {
namespace {

struct Options {
  std::string out;
  uint64_t count = 16, seed = 0;
  RenderOptions render;
  std::string words[kAttributes];
};

constexpr char kExample[] =
    "Example: 64 red cats, whatever they stand on, drawn on two cores\n"
    "  tiltshift-scenes --out cats --count 64 --seed 7 --threads 2 --subject cat --color red\n"
    "cats.rgb is 64 pictures of 256x256 RGB bytes, cats.txt their captions, a line each.\n";

constexpr size_t kBatchBytes = size_t{16} << 20;  // of pictures, held before they are written

void AddOptions(CLI::App& app, Options& options) {
  RenderOptions& render = options.render;
  const auto number = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->capture_default_str();
  };
  app.footer(kExample);
  app.add_option("--out", options.out, "writes OUT.rgb and OUT.txt")->required();
  number("--count", options.count, "scenes");
  number("--seed", options.seed, "the same seed, count and words: the same scenes");
  number("--size", render.size, "pixels a side, a multiple of 4")->check(CLI::Range(16, 2048));
  number("--supersample", render.supersample, "rays a pixel, each way")->check(CLI::Range(1, 8));
  number("--threads", render.threads, "scenes drawn at once")->check(CLI::Range(1, 1024));
  for (int i = 0; i < kAttributes; ++i) {
    std::string words;
    for (const auto word : Words(static_cast<Attribute>(i))) {
      words += (words.empty() ? "" : ", ") + std::string(word);
    }
    const std::string name = "--" + std::string(Name(static_cast<Attribute>(i)));
    app.add_option(name, options.words[i], "every scene's: " + words)->group("Fixed words");
  }
}

absl::StatusOr<FixedAttributes> Fixed(const Options& options) {
  FixedAttributes fixed;
  for (int i = 0; i < kAttributes; ++i) {
    if (options.words[i].empty()) continue;
    TS_ASSIGN_OR_RETURN(fixed[i], FindWord(static_cast<Attribute>(i), options.words[i]));
  }
  return fixed;
}

// A file that appears under its name when it is whole, and leaves nothing behind when it fails.
class WholeFile {
 public:
  explicit WholeFile(std::string path)
      : path_(std::move(path)), temporary_(path_ + ".tmp-" + std::to_string(getpid())) {}
  ~WholeFile() {
    if (file_) std::fclose(file_);
    std::remove(temporary_.c_str());
  }
  absl::Status Open() {
    file_ = std::fopen(temporary_.c_str(), "wb");
    return file_ ? absl::OkStatus() : ErrnoStatus(errno, "creating", temporary_);
  }
  absl::Status Append(const void* bytes, size_t size) {
    if (std::fwrite(bytes, 1, size, file_) == size) return absl::OkStatus();
    return ErrnoStatus(errno, "writing", temporary_);
  }
  absl::Status Finish() {
    if (std::fclose(std::exchange(file_, nullptr)) != 0) {
      return ErrnoStatus(errno, "writing", temporary_);
    }
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
      return ErrnoStatus(errno, "renaming " + temporary_ + " to", path_);
    }
    return absl::OkStatus();
  }

 private:
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
};

absl::Status Run(const Options& options) {
  if (options.render.size % 4 != 0) {
    return absl::InvalidArgumentError("--size " + std::to_string(options.render.size) +
                                      " is no multiple of 4: rays go in tiles of 4x4");
  }
  TS_ASSIGN_OR_RETURN(const FixedAttributes fixed, Fixed(options));
  WholeFile pictures(options.out + ".rgb"), captions(options.out + ".txt");
  TS_RETURN_IF_ERROR(pictures.Open());
  TS_RETURN_IF_ERROR(captions.Open());
  const size_t picture = size_t{3} * options.render.size * options.render.size;
  const uint64_t batch = std::max<uint64_t>(kBatchBytes / picture, options.render.threads);
  for (uint64_t first = 0; first < options.count; first += batch) {
    std::vector<Scene> scenes;
    std::string lines;
    for (uint64_t i = first; i < std::min(first + batch, options.count); ++i) {
      scenes.push_back(DrawScene(options.seed, i, fixed));
      lines += Caption(scenes.back()) + '\n';
    }
    const std::vector<uint8_t> rgb = RenderAll(scenes, options.render);
    TS_RETURN_IF_ERROR(pictures.Append(rgb.data(), rgb.size()));
    TS_RETURN_IF_ERROR(captions.Append(lines.data(), lines.size()));
  }
  TS_RETURN_IF_ERROR(pictures.Finish());
  return captions.Finish();
}

}  // namespace
}  // namespace tiltshift::scenes

int main(int argc, char** argv) {
  CLI::App app{"Draws miniature scenes with captions, to train a text-to-image model.",
               "tiltshift-scenes"};
  tiltshift::scenes::Options options;
  tiltshift::scenes::AddOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = tiltshift::scenes::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "tiltshift-scenes: %s\n", tiltshift::Message(status).c_str());
  return 1;
}
