// A photo as it may lie on a disk: encrypted in chunks by a key of its own, with libsodium's
// crypto_secretstream_xchacha20poly1305. A changed, cut, reordered or prolonged one, and one that
// is called otherwise, does not open. The form: docs/formats.md.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "seal/secret.h"

namespace tiltshift::seal {

// A key for one photo.
Secret NewPhotoKey();

// `name`: the photo's id; it is not in the sealed bytes, and needed to open them.
std::string Seal(std::string_view photo, const Secret& key, std::string_view name);

// DataLoss: these are not the bytes that were sealed under this name with this key.
absl::StatusOr<Secret> Open(std::string_view sealed, const Secret& key, std::string_view name);

}  // namespace tiltshift::seal
