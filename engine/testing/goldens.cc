#include "engine/testing/goldens.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/file.h"
#include "engine/safetensors.h"

namespace tiltshift::engine {

double RelativeL2(std::span<const float> ours, std::span<const float> golden) {
  if (ours.size() != golden.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    difference += (double{ours[i]} - golden[i]) * (double{ours[i]} - golden[i]);
    norm += double{golden[i]} * golden[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

std::vector<float> EveryRow(std::span<const float> values, size_t row, size_t every) {
  std::vector<float> kept;
  for (size_t at = 0; at < values.size(); at += every * row) {
    kept.insert(kept.end(), values.begin() + at, values.begin() + at + row);
  }
  return kept;
}

struct Goldens::Impl {
  std::string bytes;
  TensorMap tensors;

  const TensorView* Find(const std::string& tensor) const {
    const auto found = tensors.find(tensor);
    return found == tensors.end() ? nullptr : &found->second;
  }
};

absl::StatusOr<Goldens> Goldens::Open(const std::string& source_dir, const std::string& name) {
  const std::string path = absl::StrCat(source_dir, "/tests/goldens/", name);
  const auto impl = std::make_shared<Impl>();
  TS_ASSIGN_OR_RETURN(impl->bytes, ReadFile(path));
  TS_ASSIGN_OR_RETURN(impl->tensors, ParseSafetensors(impl->bytes, path));
  Goldens goldens;
  goldens.impl_ = impl;
  return goldens;
}

bool Goldens::Has(const std::string& tensor) const { return impl_->Find(tensor) != nullptr; }

std::vector<int64_t> Goldens::Shape(const std::string& tensor) const {
  const TensorView* view = impl_->Find(tensor);
  if (view == nullptr) return {};
  return {view->shape.begin(), view->shape.end()};
}

std::vector<float> Goldens::Floats(const std::string& tensor) const {
  const TensorView* view = impl_->Find(tensor);
  if (view == nullptr) return {};
  std::vector<float> floats(view->elements());
  TS_CHECK(CopyAsFloat(*view, floats).ok());
  return floats;
}

std::vector<int32_t> Goldens::Ints(const std::string& tensor) const {
  const std::vector<uint8_t> bytes = Bytes(tensor);
  std::vector<int32_t> ints(bytes.size() / sizeof(int32_t));
  std::memcpy(ints.data(), bytes.data(), ints.size() * sizeof(int32_t));
  return ints;
}

std::vector<uint8_t> Goldens::Bytes(const std::string& tensor) const {
  const TensorView* view = impl_->Find(tensor);
  if (view == nullptr) return {};
  return {view->bytes.begin(), view->bytes.end()};
}

const std::string& Goldens::file() const { return impl_->bytes; }

}  // namespace tiltshift::engine
