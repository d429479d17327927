#include "tests/support/certificates.h"

#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "tests/support/process.h"

namespace tiltshift::tests {
namespace {

void OpenSsl(const std::string& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  Process process(arguments, folder);
  EXPECT_EQ(process.Wait(20'000), 0) << process.Errors();
}

const std::vector<std::string> kNewKey = {"-newkey", "ec", "-pkeyopt",
                                          "ec_paramgen_curve:prime256v1", "-nodes"};

}  // namespace

Certificates::Certificates(const std::string& folder, const std::string& authority)
    : folder_(folder), authority_(authority) {
  std::vector<std::string> arguments = {"req",     "-x509",
                                        "-days",   "2",
                                        "-subj",   "/CN=" + authority,
                                        "-keyout", File(authority + ".key"),
                                        "-out",    File(authority + ".crt")};
  arguments.insert(arguments.end(), kNewKey.begin(), kNewKey.end());
  OpenSsl(folder_, arguments);
}

void Certificates::Sign(const std::string& name, const std::string& names) {
  std::vector<std::string> arguments = {
      "req", "-subj", "/CN=" + name, "-keyout", File(name + ".key"), "-out", File(name + ".csr")};
  arguments.insert(arguments.end(), kNewKey.begin(), kNewKey.end());
  OpenSsl(folder_, arguments);
  std::ofstream(File(name + ".ext")) << "subjectAltName=" << names;
  OpenSsl(folder_, {"x509", "-req", "-in", File(name + ".csr"), "-CA", File(authority_ + ".crt"),
                    "-CAkey", File(authority_ + ".key"), "-CAcreateserial", "-days", "2",
                    "-extfile", File(name + ".ext"), "-out", File(name + ".crt")});
}

}  // namespace tiltshift::tests
