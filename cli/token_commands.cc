// `tiltshift token`: who may call a farm that asks its callers who they are.
#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"

namespace tiltshift::cli {
namespace {

struct TokenOptions {
  Common common;
  std::string name, tenant, out, expires, id;
  std::vector<std::string> roles;
};

const std::map<std::string, v1::Role> kRoles = {{"submit", v1::ROLE_SUBMIT},
                                                {"read", v1::ROLE_READ},
                                                {"operate", v1::ROLE_OPERATE},
                                                {"worker", v1::ROLE_WORKER}};

std::string RoleName(int role) {
  for (const auto& [name, value] : kRoles) {
    if (value == role) return name;
  }
  return std::to_string(role);
}

std::string Date(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

// "90d", "12h", "30m".
absl::StatusOr<int64_t> Lifetime(const std::string& text) {
  if (text.empty()) return 0;
  const std::map<char, int64_t> units = {{'m', 60'000}, {'h', 3'600'000}, {'d', 86'400'000}};
  const auto unit = units.find(text.back());
  int64_t count = 0;
  if (unit == units.end() || !absl::SimpleAtoi(text.substr(0, text.size() - 1), &count) ||
      count <= 0 || count > 1'000'000)
    return absl::InvalidArgumentError(
        absl::StrCat("--expires ", text, ": expected a time like 90d, 12h or 30m"));
  return count * unit->second;
}

absl::StatusOr<ExitCode> RunCreate(const TokenOptions& options) {
  v1::CreateTokenRequest request;
  request.set_name(options.name);
  request.set_tenant(options.tenant);
  for (const std::string& role : options.roles) request.add_roles(kRoles.at(role));
  TS_ASSIGN_OR_RETURN(const int64_t lives_ms, Lifetime(options.expires));
  request.set_lives_ms(lives_ms);
  const absl::Status taken = absl::AlreadyExistsError(
      absl::StrCat(options.out, " is there already; choose another --out"));
  if (!options.out.empty() && access(options.out.c_str(), F_OK) == 0) return taken;
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(v1::CreateTokenResponse made, client.CreateToken(request));
  if (!options.out.empty()) {
    TS_ASSIGN_OR_RETURN(const Written written,
                        WriteFileAtomic(options.out, made.secret() + "\n", IfPresent::kKeep, 0600));
    if (written == Written::kKept) return taken;
    made.clear_secret();
  }
  if (options.common.json) {
    std::printf("%s\n", ToJson(made).c_str());
  } else if (options.out.empty()) {
    std::printf("%s\n", made.secret().c_str());
    std::fprintf(stderr,
                 "token %s; it is shown this once: keep it in a file that others can't read\n",
                 made.token().id().c_str());
  } else {
    std::printf("token %s is in %s\n", made.token().id().c_str(), options.out.c_str());
  }
  return kDone;
}

absl::StatusOr<ExitCode> RunRevoke(const TokenOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const v1::Token token, client.RevokeToken(options.id));
  if (options.common.json) {
    std::printf("%s\n", ToJson(token).c_str());
  } else {
    std::printf("token %s (%s) is revoked since %s UTC\n", token.id().c_str(), token.name().c_str(),
                Date(token.revoked_unix_ms()).c_str());
  }
  return kDone;
}

std::string StateOf(const v1::Token& token) {
  if (token.revoked_unix_ms() != 0) return "revoked " + Date(token.revoked_unix_ms());
  if (token.expires_unix_ms() == 0) return "valid";
  const bool over = token.expires_unix_ms() <= absl::ToUnixMillis(absl::Now());
  return (over ? "expired " : "until ") + Date(token.expires_unix_ms());
}

absl::StatusOr<ExitCode> RunList(const TokenOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const v1::ListTokensResponse list, client.ListTokens());
  if (options.common.json) {
    std::printf("%s\n", ToJson(list).c_str());
    return kDone;
  }
  std::printf("%-12s %-16s %-20s %-24s %s\n", "TOKEN", "TENANT", "ROLES", "STATE", "NAME");
  for (const v1::Token& token : list.tokens()) {
    std::vector<std::string> roles;
    for (const int role : token.roles()) roles.push_back(RoleName(role));
    std::printf("%-12s %-16s %-20s %-24s %s\n", token.id().c_str(), token.tenant().c_str(),
                absl::StrJoin(roles, ",").c_str(), StateOf(token).c_str(), token.name().c_str());
  }
  return kDone;
}

}  // namespace

void AddTokenCommands(CLI::App& app, Chosen& chosen) {
  CLI::App* token = app.add_subcommand("token", "Who may call a farm: tokens and their roles");
  token->require_subcommand(1);
  auto options = std::make_shared<TokenOptions>();
  CLI::App* create = AddFarmCommand(
      *token, chosen, options, "create", "Make a token and show it, this once",
      "tiltshift token create --name \"shop CI\" --tenant brand --roles submit,read --expires 90d "
      "--out ci.token",
      RunCreate);
  create->add_option("--name", options->name, "what it is for, for people");
  create->add_option("--tenant", options->tenant, "whose jobs it is for; default: default");
  create
      ->add_option("--roles", options->roles,
                   "with commas: submit, read (its tenant's jobs), operate (everything), worker")
      ->required()
      ->delimiter(',')
      ->check(CLI::IsMember(kRoles));
  create->add_option("--expires", options->expires, "after so long: 90d, 12h, 30m; default: never");
  create->add_option("--out", options->out, "new file to write it to, for its owner alone");
  auto revoked = std::make_shared<TokenOptions>();
  CLI::App* revoke = AddFarmCommand(*token, chosen, revoked, "revoke",
                                    "End a token, and whatever it has open, at once",
                                    "tiltshift token revoke 0123456789ab", RunRevoke);
  revoke->add_option("id", revoked->id, "as `token list` shows it, no secret")->required();
  AddFarmCommand(*token, chosen, std::make_shared<TokenOptions>(), "list",
                 "All tokens, without their secrets", "tiltshift token list", RunList);
}

}  // namespace tiltshift::cli
