#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace tiltshift {

absl::Status Annotate(const absl::Status& status, const std::string& context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

absl::Status ErrnoStatus(int error, const std::string& what, const std::string& path) {
  const std::string message = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message + "; check the owner and mode of the folder");
    case EROFS:
      return absl::PermissionDeniedError(message + "; choose a folder that can be written");
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message +
                                          "; free some space, then run the same command again");
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message + "; raise the limit on open files (ulimit -n)");
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace tiltshift
