#include "scheduler/token_service.h"

namespace tiltshift::scheduler {
namespace {

absl::Status MayAsk(const FarmLoop& loop, const access::TokenBook* tokens) {
  TS_RETURN_IF_ERROR(loop.Leading());
  if (tokens != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this scheduler asks nobody for a token; start it with --auth on (docs/security.md)");
}

absl::StatusOr<access::TokenBook::Made> NewToken(const access::TokenBook& tokens,
                                                 const v1::CreateTokenRequest& request,
                                                 int64_t now_ms) {
  if (tokens.size() >= access::TokenBook::kMostTokens)
    return absl::ResourceExhaustedError(
        absl::StrCat("the farm has ", tokens.size(), " tokens, as many as it may"));
  return access::TokenBook::Make(request, now_ms);
}

v1::Token WhoIs(const access::TokenBook* tokens, const std::string& id) {
  v1::Token whole;
  if (tokens == nullptr) {
    whole.add_roles(v1::ROLE_OPERATE);
    return whole;
  }
  for (const v1::StoredToken& stored : tokens->All())
    if (stored.token().id() == id) return stored.token();
  return whole;
}

}  // namespace

void AddTokenService(CallServer& server, FarmLoop& loop, access::TokenBook* tokens,
                     const Clock& clock) {
  const std::string service = "/tiltshift.v1.Tokens/";
  server.Unary<v1::CreateTokenRequest, v1::CreateTokenResponse>(
      service + "CreateToken", {}, [&loop, tokens, &clock](const auto& request, auto reply) {
        if (const absl::Status may = MayAsk(loop, tokens); !may.ok()) return reply(may);
        const auto made = NewToken(*tokens, request, clock.UnixMs());
        if (!made.ok()) return reply(made.status());
        loop.PutToken(made->stored, [reply, made = *made](const absl::Status& done) {
          if (!done.ok()) return reply(done);
          v1::CreateTokenResponse response;
          *response.mutable_token() = made.stored.token();
          response.set_secret(made.secret);
          reply(response);
        });
      });
  server.Unary<v1::RevokeTokenRequest, v1::Token>(
      service + "RevokeToken", {},
      [&server, &loop, tokens, &clock](const auto& request, auto reply) {
        if (const absl::Status may = MayAsk(loop, tokens); !may.ok()) return reply(may);
        const auto revoked = tokens->Revoke(request.token_id(), clock.UnixMs());
        if (!revoked.ok()) return reply(revoked.status());
        server.EndStreams(clock);
        loop.PutToken(*revoked, [reply, token = revoked->token()](const absl::Status& done) {
          if (!done.ok()) return reply(done);
          reply(token);
        });
      });
  server.Unary<v1::ListTokensRequest, v1::ListTokensResponse>(
      service + "ListTokens", {}, [&loop, tokens](const auto&, auto reply) {
        if (const absl::Status may = MayAsk(loop, tokens); !may.ok()) return reply(may);
        v1::ListTokensResponse response;
        for (const v1::StoredToken& stored : tokens->All()) *response.add_tokens() = stored.token();
        reply(response);
      });
  server.Unary<v1::WhoAmIRequest, v1::Token>(
      service + "WhoAmI", {},
      [tokens](const auto& request, auto reply) { reply(WhoIs(tokens, request.token_id())); });
}

}  // namespace tiltshift::scheduler
