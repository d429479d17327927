#include "picture/lock_down.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <initializer_list>
#include <memory>

namespace tiltshift::picture {
namespace {

absl::Status Limit(__rlimit_resource_t what, rlim_t value) {
  const rlimit limit{value, value};
  if (setrlimit(what, &limit) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("setrlimit ", static_cast<int>(what), ": errno ", errno));
}

using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

bool AddRules(scmp_filter_ctx filter) {
  bool fine = true;
  const auto allow = [&](int call) {
    fine = fine && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  };
  const auto refuse = [&](int call, int error) {
    fine = fine &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), call, 0) == 0;
  };
  for (const int call : {SCMP_SYS(read),
                         SCMP_SYS(readv),
                         SCMP_SYS(pread64),
                         SCMP_SYS(write),
                         SCMP_SYS(writev),
                         SCMP_SYS(close),
                         SCMP_SYS(lseek),
                         SCMP_SYS(fstat),
                         SCMP_SYS(munmap),
                         SCMP_SYS(mremap),
                         SCMP_SYS(madvise),
                         SCMP_SYS(brk),
                         SCMP_SYS(futex),
                         SCMP_SYS(set_robust_list),
                         SCMP_SYS(rseq),
                         SCMP_SYS(exit),
                         SCMP_SYS(exit_group),
                         SCMP_SYS(rt_sigaction),
                         SCMP_SYS(rt_sigprocmask),
                         SCMP_SYS(rt_sigreturn),
                         SCMP_SYS(sigaltstack),
                         SCMP_SYS(sched_yield),
                         SCMP_SYS(sched_getaffinity),
                         SCMP_SYS(getpid),
                         SCMP_SYS(gettid),
                         SCMP_SYS(tgkill),
                         SCMP_SYS(clock_gettime),
                         SCMP_SYS(gettimeofday),
                         SCMP_SYS(nanosleep),
                         SCMP_SYS(clock_nanosleep),
                         SCMP_SYS(getrandom),
                         SCMP_SYS(sysinfo),
                         SCMP_SYS(uname),
                         SCMP_SYS(getrusage),
                         SCMP_SYS(restart_syscall)})
    allow(call);
  // Memory that can be executed is none of it; threads are, processes not.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    fine = fine && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
  fine = fine && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0;
  refuse(SCMP_SYS(clone3),
         ENOSYS);  // its flags are behind a pointer; the C library takes clone then
  for (const int call :
       {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat),
        SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
        SCMP_SYS(readlink), SCMP_SYS(getcwd), SCMP_SYS(unlink), SCMP_SYS(prlimit64),
        SCMP_SYS(prctl), SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(sched_setaffinity),
        SCMP_SYS(sched_setscheduler), SCMP_SYS(setpriority)})
    refuse(call, EACCES);
  return fine;
}

}  // namespace

absl::Status LockDown(const LockDownLimits& limits) {
  TS_RETURN_IF_ERROR(Limit(RLIMIT_CORE, 0));
  TS_RETURN_IF_ERROR(Limit(RLIMIT_FSIZE, 0));
  TS_RETURN_IF_ERROR(Limit(RLIMIT_CPU, static_cast<rlim_t>(limits.cpu_seconds)));
  TS_RETURN_IF_ERROR(Limit(RLIMIT_AS, limits.memory_bytes));
  const Filter filter(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release);
  const bool locked = prctl(PR_SET_DUMPABLE, 0) == 0 && filter != nullptr &&
                      seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
                      AddRules(filter.get()) && seccomp_load(filter.get()) == 0;
  if (locked) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this kernel gives no seccomp, and a photo is not decoded without it; in a container, allow "
      "seccomp");
}

}  // namespace tiltshift::picture
