// Programs that are installed together.
#pragma once

#include <string>

namespace tiltshift {

// Where a program is: beside this executable, or the name itself for PATH.
std::string ProgramBeside(const std::string& name);

}  // namespace tiltshift
