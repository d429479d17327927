// How the commands print: tables and sentences for people, JSON for scripts.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "proto/job.pb.h"

namespace tiltshift::cli {

// One line of JSON with the proto's field names; zeros included.
std::string ToJson(const google::protobuf::Message& message);

// "done", "running", ...
std::string StateName(v1::JobState state);

// "1:02:03", "2:03", "0:07".
std::string Duration(double seconds);

// "12,345,678".
std::string WithCommas(uint64_t number);

// Rows of a contest's table that were left out, to stderr: the first ten, and how many more.
void TellSkipped(const std::vector<std::string>& rows);

// "variant 17 failed after 3 attempts: the card failed".
std::string FailureLine(uint64_t index, uint32_t attempts, const std::string& reason);

// What a job says of itself, with its first failures and where all are: `failures`, or the command
// that lists them.
std::string Summary(const v1::Job& job, const std::string& failures = "");

// Progress of a job: one line that redraws itself on a terminal; elsewhere a line whenever a tenth
// more is done; JSON a line a change where asked.
class Progress {
 public:
  explicit Progress(bool json);
  void Show(const v1::Job& job);
  // Ends the redrawn line.
  void End();

 private:
  const bool json_, terminal_;
  int tenths_ = -1;
  bool open_ = false;
  std::string last_;
};

}  // namespace tiltshift::cli
