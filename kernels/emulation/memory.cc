#include "kernels/emulation/memory.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace tiltshift::emulation {

DeviceMemory::~DeviceMemory() {
  for (auto& [begin, allocation] : allocations_) std::free(allocation.begin);
}

void* DeviceMemory::Allocate(size_t bytes, bool track) {
  constexpr size_t kAlign = 256;
  if (in_use_ + bytes > limit_) return nullptr;
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign;
  Allocation allocation;
  allocation.begin = static_cast<char*>(std::aligned_alloc(kAlign, rounded));
  if (allocation.begin == nullptr) return nullptr;
  allocation.bytes = bytes;
  if (track) allocation.written = std::make_unique<uint8_t[]>(bytes);
  char* begin = allocation.begin;
  const std::unique_lock lock(mutex_);
  allocations_[begin] = std::move(allocation);
  in_use_ += bytes;
  return begin;
}

bool DeviceMemory::Free(void* begin) {
  const std::unique_lock lock(mutex_);
  const auto it = allocations_.find(static_cast<char*>(begin));
  if (it == allocations_.end()) return false;
  in_use_ -= it->second.bytes;
  std::free(it->second.begin);
  allocations_.erase(it);
  return true;
}

Allocation* DeviceMemory::Find(const void* address, size_t bytes) {
  const char* first = static_cast<const char*>(address);
  const std::shared_lock lock(mutex_);
  auto it = allocations_.upper_bound(first);
  if (it == allocations_.begin()) return nullptr;
  --it;
  Allocation& allocation = it->second;
  const size_t offset = first - allocation.begin;
  return offset <= allocation.bytes && bytes <= allocation.bytes - offset ? &allocation : nullptr;
}

bool DeviceMemory::Written(const Allocation& allocation, const void* address, size_t bytes) {
  if (allocation.written == nullptr) return true;
  const uint8_t* flags =
      allocation.written.get() + (static_cast<const char*>(address) - allocation.begin);
  return std::all_of(flags, flags + bytes, [](uint8_t flag) { return flag != 0; });
}

void DeviceMemory::MarkWritten(Allocation& allocation, const void* address, size_t bytes) {
  if (allocation.written == nullptr) return;
  std::fill_n(allocation.written.get() + (static_cast<const char*>(address) - allocation.begin),
              bytes, 1);
}

}  // namespace tiltshift::emulation
