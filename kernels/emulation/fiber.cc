#include "kernels/emulation/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#ifndef __x86_64__
#error "The emulator's stack switch is written for x86-64; build with -DTILTSHIFT_CUDA=OFF here."
#endif

// rdi: where this stack's pointer goes; rsi: the stack to go on with. Six registers are a callee's
// to save.
asm(R"(
.text
.globl TiltshiftSwitchStack
.type TiltshiftSwitchStack, @function
TiltshiftSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size TiltshiftSwitchStack, .-TiltshiftSwitchStack
.section .note.GNU-stack,"",@progbits
.text
)");

namespace tiltshift::emulation {
namespace {

constexpr size_t kPage = 4096;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 512 << 10;  // frames have zones between their variables
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
// Tops at the same offset in every stack would share a few lines of the cache; each begins a bit
// lower.
constexpr size_t kColours = 32;
constexpr size_t kColourBytes = 192;

}  // namespace

// Saves the stack pointer in *from and goes on at `to`.
extern "C" void TiltshiftSwitchStack(void** from, void* to);

std::unique_ptr<Stack> Stack::OfThisThread() { return std::unique_ptr<Stack>(new Stack(OfHost())); }

Stack::Stack(OfHost) {
  pthread_attr_t attributes;
  TS_CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
  void* bottom = nullptr;
  TS_CHECK(pthread_attr_getstack(&attributes, &bottom, &bytes_) == 0);
  TS_CHECK(pthread_attr_destroy(&attributes) == 0);
  bottom_ = static_cast<char*>(bottom);
#if defined(__SANITIZE_THREAD__)
  sanitizer_fiber_ = __tsan_get_current_fiber();
#endif
}

Stack::Stack() : bytes_(kStackBytes) {
  void* memory =
      mmap(nullptr, bytes_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TS_CHECK(memory != MAP_FAILED);
  // The lowest page is a guard: an overflow stops the process instead of writing into a neighbour.
  TS_CHECK(mprotect(memory, kPage, PROT_NONE) == 0);
  memory_ = static_cast<char*>(memory);
  bottom_ = memory_ + kPage;
}

Stack::~Stack() {
  if (memory_ == nullptr) return;
#if defined(__SANITIZE_THREAD__)
  if (sanitizer_fiber_ != nullptr) __tsan_destroy_fiber(sanitizer_fiber_);
#endif
  munmap(memory_, bytes_ + kPage);
}

void Stack::Prepare(void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(bottom_, bytes_);
  sanitizer_frames_ = nullptr;
#endif
#if defined(__SANITIZE_THREAD__)
  if (sanitizer_fiber_ != nullptr) __tsan_destroy_fiber(sanitizer_fiber_);
  sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
  const size_t colour = reinterpret_cast<uintptr_t>(memory_) / (bytes_ + kPage) % kColours;
  char* top = bottom_ + bytes_ - colour * kColourBytes;
  // As after a call of `entry`: a return address (none) on top, below it what the switch pops.
  void** frame = reinterpret_cast<void**>(top) - 8;
  std::memset(frame, 0, 8 * sizeof(void*));
  frame[6] = reinterpret_cast<void*>(entry);
  pointer_ = frame;
}

void Stack::Arrive() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void Stack::JumpTo(Stack& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&sanitizer_frames_, to.bottom_, to.bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.sanitizer_fiber_, 0);
#endif
  TiltshiftSwitchStack(&pointer_, to.pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(sanitizer_frames_, nullptr, nullptr);
#endif
}

void Stack::LeaveFor(Stack& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, to.bottom_, to.bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.sanitizer_fiber_, 0);
#endif
  TiltshiftSwitchStack(&pointer_, to.pointer_);
  __builtin_unreachable();
}

Stack* StackPool::Take(void (*entry)()) {
  if (free_.empty()) {
    all_.push_back(std::make_unique<Stack>());
    free_.push_back(all_.back().get());
  }
  Stack* stack = free_.back();
  free_.pop_back();
  stack->Prepare(entry);
  return stack;
}

void StackPool::GiveBackAll() {
  free_.clear();
  for (const std::unique_ptr<Stack>& stack : all_) free_.push_back(stack.get());
}

}  // namespace tiltshift::emulation
