#include "bench/own_process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <string>

namespace tiltshift::engine {
namespace {

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// The eighth number of proc(5)'s first line.
double Stolen() {
  std::ifstream stat("/proc/stat");
  std::string name;
  double ticks = 0;
  stat >> name;
  for (int i = 0; i < 8; ++i) stat >> ticks;
  return stat ? ticks / static_cast<double>(sysconf(_SC_CLK_TCK)) : 0;
}

}  // namespace

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ProcessTimes& ProcessTimes::operator+=(const ProcessTimes& other) {
  cores += other.cores;
  page_faults += other.page_faults;
  preempted += other.preempted;
  stolen += other.stolen;
  return *this;
}

ProcessTimes operator-(const ProcessTimes& later, const ProcessTimes& earlier) {
  return {later.cores - earlier.cores, later.page_faults - earlier.page_faults,
          later.preempted - earlier.preempted, later.stolen - earlier.stolen};
}

ProcessTimes TimesNow() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return {SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime), usage.ru_minflt, usage.ru_nivcsw,
          Stolen()};
}

double MibOf(const char* file, const char* line_start) {
  std::ifstream status(std::string("/proc/self/") + file);
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(line_start)) return std::stod(line.substr(std::strlen(line_start))) / 1024;
  }
  return 0;
}

}  // namespace tiltshift::engine
