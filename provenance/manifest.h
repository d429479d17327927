// A manifest store taken apart, before anything in it is believed. Anybody's bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "provenance/cose.h"
#include "provenance/statement.h"

namespace tiltshift::provenance {

struct Manifest {
  struct Reference {
    std::string label, hash;  // in the claim
    std::string_view hashed;  // what it must be the hash of
  };
  std::string_view claim;  // encoded: what is signed
  CoseSign1 cose;
  std::vector<Reference> assertions;
  // Of c2pa.hash.data.
  uint64_t left_out_at = 0, left_out_bytes = 0;
  std::string data_hash;
  // What it says.
  std::string generator;
  bool machine_made = false;
  bool from_photo = false;  // a photo was among what it was made of
  Statement statement;
};

// Views into `store`. InvalidArgument: damaged, or not of the kind that provenance/verify.h tells;
// a payload "c2pa.code" (kCodePayload) holds C2PA's status code where it has one.
absl::StatusOr<Manifest> ReadManifest(std::string_view store);

inline constexpr char kCodePayload[] = "tiltshift/c2pa.code";

}  // namespace tiltshift::provenance
