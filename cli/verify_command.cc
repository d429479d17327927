// `tiltshift verify`: whether pictures are what was signed, by whom, and what they say of
// themselves.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/commands.h"
#include "provenance/certificate.h"
#include "provenance/own_certificate.h"
#include "provenance/verify.h"

namespace tiltshift::cli {
namespace {

using provenance::Finding;
using provenance::Statement;
using provenance::Verdict;

struct VerifyOptions {
  Common common;
  std::vector<std::string> files, trust;
};

// What a stranger's file says must not move a terminal's cursor.
std::string Printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

// Of the files named, else this user's own where it has one.
absl::StatusOr<std::vector<std::string>> Anchors(const VerifyOptions& options) {
  std::vector<std::string> files = options.trust;
  if (files.empty()) {
    const auto folder = provenance::OwnCertificateFolder();
    if (folder.ok() && access((*folder + "/ca.pem").c_str(), F_OK) == 0)
      files.push_back(*folder + "/ca.pem");
  }
  std::vector<std::string> anchors;
  for (const std::string& file : files) {
    TS_ASSIGN_OR_RETURN(const std::string pem, ReadFile(file, 1 << 20));
    const auto certificates = provenance::CertificatesOf(pem);
    if (!certificates.ok()) return Annotate(certificates.status(), file);
    anchors.insert(anchors.end(), certificates->begin(), certificates->end());
  }
  return anchors;
}

void PrintWords(const std::string& file, const Verdict& verdict) {
  const bool is_signed = verdict.finding == Finding::kSigned;
  std::printf("%s: %s\n", file.c_str(),
              is_signed ? "it is what was signed" : Printable(verdict.why).c_str());
  const auto line = [](const char* name, const std::string& value) {
    if (!value.empty()) std::printf("  %-12s %s\n", name, Printable(value).c_str());
  };
  if (is_signed)
    line("signed by", absl::StrCat(verdict.signer, ", ", verdict.fingerprint.substr(0, 16)));
  if (verdict.finding != Finding::kSigned && verdict.finding != Finding::kUntrusted) return;
  if (!is_signed) std::printf("  what it says of itself, if that signer is to be believed:\n");
  line("made by", absl::StrCat(verdict.generator, verdict.machine_made ? ", a trained model" : "",
                               verdict.from_photo ? ", from a photo" : ""));
  const Statement& says = verdict.statement;
  line("model", says.model);
  line("render class", says.render_class);
  line("job", says.job);
  line("seed", says.seed);
  line("owner", says.owner);
  line("licence", says.license);
  line("author", says.author);
  line("prompt", says.prompt);
}

void PrintJson(const std::string& file, const Verdict& verdict) {
  nlohmann::json line = {{"file", file}, {"finding", provenance::NameOf(verdict.finding)}};
  const auto add = [&](nlohmann::json& to, const char* name, const std::string& value) {
    if (!value.empty()) to[name] = value;
  };
  add(line, "why", verdict.why);
  add(line, "code", verdict.code);
  add(line, "signer", verdict.signer);
  add(line, "fingerprint", verdict.fingerprint);
  if (!verdict.signer.empty()) {
    nlohmann::json says = {{"machine_made", verdict.machine_made},
                           {"from_photo", verdict.from_photo}};
    add(says, "generator", verdict.generator);
    add(says, "model", verdict.statement.model);
    add(says, "render_class", verdict.statement.render_class);
    add(says, "job", verdict.statement.job);
    add(says, "seed", verdict.statement.seed);
    add(says, "owner", verdict.statement.owner);
    add(says, "license", verdict.statement.license);
    add(says, "author", verdict.statement.author);
    add(says, "prompt", verdict.statement.prompt);
    line["says"] = says;
  }
  std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

absl::StatusOr<ExitCode> RunVerify(const VerifyOptions& options) {
  TS_ASSIGN_OR_RETURN(const auto anchors, Anchors(options));
  ExitCode code = kDone;
  for (const std::string& file : options.files) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    TS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file));
    const Verdict verdict = provenance::Verify(bytes, anchors);
    if (options.common.json) PrintJson(file, verdict);
    if (!options.common.json) PrintWords(file, verdict);
    if (verdict.finding != Finding::kSigned) code = kJobFailed;
  }
  return code;
}

}  // namespace

void AddVerifyCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "Whether pictures are what was signed, by whom, and what they say of themselves");
  command->footer(
      "Examples:\n  tiltshift verify out/demo/*.png\n"
      "  tiltshift verify --trust farm-ca.pem picture.png --json   # a line each\n"
      "Exit code 0: each is what was signed, by someone trusted; 1: one is not.\n");
  command->add_option("files", options->files, "PNG")->required();
  command->add_option(
      "--trust", options->trust,
      "certificates, PEM, of the CAs to believe; may be repeated. Default: this user's "
      "own, ~/.local/state/tiltshift/certificate/ca.pem");
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunVerify(*options); }; });
}

}  // namespace tiltshift::cli
