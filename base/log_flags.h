// The command line's words for a process' log, the same for scheduler and worker.
#pragma once

#include <CLI/CLI.hpp>

#include "base/log.h"

namespace tiltshift {

inline void AddLogFlags(CLI::App& app, LogOptions& options) {
  app.add_option("--log-level", options.level, "debug, info, warn, error")->capture_default_str();
  app.add_option_function<std::string>(
         "--log", [&options](const std::string& format) { options.json = format == "json"; },
         "text, for people, or json: an object a line with job, variant, shard, worker, epoch and "
         "trace, and what becomes of each variant; `tiltshift logs` reads them")
      ->check(CLI::IsMember({"text", "json"}))
      ->default_str("text");
}

}  // namespace tiltshift
