#include "kernels/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "base/check.h"

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
constexpr size_t kStackBytes = 64 << 10;
// Tops at the same offset in every stack would share a few lines of the cache; each begins a bit
// lower.
constexpr size_t kColours = 32;
constexpr size_t kColourBytes = 192;

size_t colour_bytes(size_t index) { return index % kColours * kColourBytes; }

}  // namespace

StackPool::~StackPool() {
  for (void* stack : all_) munmap(stack, kStackBytes + kPage);
}

void* StackPool::Allocate() {
  void* stack = mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TS_CHECK(stack != MAP_FAILED);
  // The lowest page is a guard: an overflow stops the process instead of writing into a neighbour.
  TS_CHECK(mprotect(stack, kPage, PROT_NONE) == 0);
  all_.push_back(stack);
  return stack;
}

StackPointer StackPool::Take(void (*entry)()) {
  if (free_.empty()) free_.push_back(Allocate());
  newest_ = free_.back();
  free_.pop_back();
  const size_t colour = colour_bytes(reinterpret_cast<uintptr_t>(newest_) / (kStackBytes + kPage));
  char* top = static_cast<char*>(newest_) + kPage + kStackBytes - colour;
  // As after a call of `entry`: a return address (none) on top, below it what the switch pops.
  void** frame = reinterpret_cast<void**>(top) - 8;
  std::memset(frame, 0, 8 * sizeof(void*));
  frame[6] = reinterpret_cast<void*>(entry);
  return frame;
}

}  // namespace tiltshift::emulation
