// What a message may hold: checks that need nothing but the message. Whoever sends such a thing is
// told the field, what is wrong with it and what may stand there: InvalidArgument.
#pragma once

#include <string>

#include "base/status.h"
#include "proto/worker.pb.h"

namespace tiltshift::scheduler {

inline constexpr uint64_t kMostVariants = uint64_t{1} << 32;  // of a job: bits of a Redis string
inline constexpr size_t kLongestRequestId = 64;
inline constexpr size_t kLongestId = 128;  // of a job or a worker
inline constexpr size_t kLongestDevice = 256;
inline constexpr uint32_t kMostSlots = 1'024;
inline constexpr uint32_t kMostLeases = 4'096;  // that a worker may want to hold
inline constexpr int kMostHeld = 10'000;        // tokens that one message names
inline constexpr int kMostModels = 1'000;
inline constexpr double kMostSeconds = 1e9;       // of rendering, in one outcome
inline constexpr size_t kLongestReason = 1'000;   // of a failure; what is beyond is cut off
inline constexpr size_t kLongestMessage = 2'000;  // of an error: as a header it has 8 KB, encoded

// Printable, no white space, at most `longest` bytes. Empty is for others to judge.
absl::Status CheckId(const std::string& field, const std::string& id, size_t longest = kLongestId);

// Why there is no such job: InvalidArgument where no job can be called so, else NotFound.
absl::Status NoSuchJob(const std::string& id);

// The newest protocol that its sender speaks; docs/operations.md, "Upgrades".
uint32_t NewestProtocol(const v1::Hello& hello);
absl::Status CheckHello(const v1::Hello& hello);

// What follows the hello: a turn, a heartbeat or a draining.
absl::Status CheckMessage(const v1::WorkerMessage& message);

}  // namespace tiltshift::scheduler
