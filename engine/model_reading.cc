#include "engine/model_reading.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/finite.h"
#include "engine/model_hash.h"
#include "engine/pack/model_identity.h"

namespace tiltshift::engine {
namespace {

// What the hash is taken over beside the weights, sorted; not all need be there.
std::vector<std::string> TextFiles(const std::string& directory) {
  std::vector<std::string> names = {"model_index.json",         "scheduler/scheduler_config.json",
                                    "text_encoder/config.json", "text_encoder_2/config.json",
                                    "unet/config.json",         "vae/config.json"};
  for (const std::string folder : {"tokenizer/", "tokenizer_2/"}) {
    for (const std::string& file : Tokenizer::FilesIn(directory + "/" + folder))
      names.push_back(folder + file);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Fetches mapped files from the disk in the order in which they lie, which is that of packing
// (pack_writer.h), on threads that do little but wait: those that compute ask for too little at a
// time to keep the disk busy.
class FetchAhead {
 public:
  explicit FetchAhead(const std::vector<HashedFile>& files) {
    for (const HashedFile& file : files) {
      for (size_t at = 0; file.mapped && at < file.bytes.size(); at += kBytes)
        parts_.push_back(file.bytes.substr(at, kBytes));
    }
    std::sort(parts_.begin(), parts_.end(), [](std::string_view a, std::string_view b) {
      return std::less<>()(a.data(), b.data());
    });
    for (std::thread& thread : threads_) thread = std::thread([this] { Run(); });
  }
  ~FetchAhead() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  static constexpr size_t kBytes = size_t{8} << 20;

  void Run() {
    for (size_t i; (i = next_++) < parts_.size();) {
      MappedFile::Fetch(parts_[i]);
      MappedFile::Release(parts_[i]);  // they stay in the system's memory
    }
  }

  std::vector<std::string_view> parts_;
  std::atomic<size_t> next_ = 0;
  std::thread threads_[4];
};

// What is to be read, which keeps the files mapped.
class Reader {
 public:
  explicit Reader(std::string directory, const ModelFiles& files)
      : directory_(std::move(directory)) {
    const bool one_file = Checkpoint::IsThere(directory_);
    const auto add = [&](const std::string& name, const Weights& weights) {
      search_.Add(weights);
      const Weights::Files& mapped = weights.files();
      files_.insert(files_.end(), mapped.begin(), mapped.end());
      if (one_file && &weights != &files.unet) return AddBeside(weights);
      for (const auto& file : mapped) {
        file->UseLargePages();
        hashed_.push_back({name, file->bytes(), true});
      }
    };
    // Of a checkpoint each part maps the one file; the UNet is most of it.
    for (const ModelFiles::Text& text : files.texts) add(text.weights.part(), text.weights);
    add(one_file ? "checkpoint" : "unet", files.unet);
    add("vae", files.vae);
  }

  absl::StatusOr<std::string> Read() {
    std::vector<HashedFile> all;
    std::list<std::string> texts;  // at addresses that stay
    for (const std::string& name : TextFiles(directory_)) {
      const std::string path = absl::StrCat(directory_, "/", name);
      if (!std::filesystem::exists(path)) continue;
      TS_ASSIGN_OR_RETURN(texts.emplace_back(), ReadFile(path));
      all.push_back({name, texts.back()});
    }
    all.insert(all.end(), hashed_.begin(), hashed_.end());
    const FetchAhead ahead(all);
    std::string hash = HashModel(all, [&](std::string_view bytes) { search_.Look(bytes); });
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
    for (size_t i = 0; i < beside_.size(); ++i) {
      search_.Look(beside_[i]);
      MappedFile::Release(beside_[i]);
    }
    TS_RETURN_IF_ERROR(search_.status());
    return hash;
  }

 private:
  void AddBeside(const Weights& weights) {
    for (const auto& [name, view] : weights.tensors()) {
      if (view.mapped) beside_.push_back(view.bytes);
    }
  }

  const std::string directory_;
  Weights::Files files_;
  std::vector<HashedFile> hashed_;
  std::vector<std::string_view> beside_;  // to be looked through, and not hashed
  FiniteSearch search_;
};

}  // namespace

ModelReading::ModelReading(const std::string& directory, WeightCache* cache,
                           const ModelFiles& files)
    : directory_(directory), identity_(files.identity), cache_(cache) {
  if (cache == nullptr) identity_.clear();
  if (!identity_.empty()) {
    const auto known = cache->KnownHash(directory, identity_);
    if (known && StillThose()) {
      std::promise<absl::StatusOr<std::string>> there;
      there.set_value(*known);
      hash_ = there.get_future().share();
      return;
    }
  }
  is_new_ = true;
  auto reader = std::make_unique<Reader>(directory, files);
  hash_ = std::async(std::launch::async, [reader = std::move(reader)] {
            return reader->Read();
          }).share();
}

bool ModelReading::StillThose() const {
  return ModelIdentity(directory_).value_or("") == identity_;
}

absl::StatusOr<std::string> ModelReading::Hash() {
  const absl::StatusOr<std::string>& hash = hash_.get();
  if (std::exchange(is_new_, false) && hash.ok() && !identity_.empty() && StillThose())
    cache_->RememberHash(directory_, identity_, *hash);
  return hash;
}

}  // namespace tiltshift::engine
