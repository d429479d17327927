// What the operating system says of this process, and of what took the cores from it.
#pragma once

namespace tiltshift::engine {

double Now();  // seconds of a clock that only goes forward

struct ProcessTimes {
  double cores = 0;      // seconds that its threads had of all cores
  long page_faults = 0;  // minor: pages that were in memory and not yet in this process
  long preempted = 0;    // times that a thread had to leave its core to another's
  double stolen = 0;  // seconds that the host gave to others while a core of this machine had work

  ProcessTimes& operator+=(const ProcessTimes& other);
};
ProcessTimes operator-(const ProcessTimes& later, const ProcessTimes& earlier);
ProcessTimes TimesNow();

// MiB that a line of a file below /proc/self says.
double MibOf(const char* file, const char* line_start);

}  // namespace tiltshift::engine
