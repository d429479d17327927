// The tokens of a farm's callers, in Redis.
#include "store/farm_store.h"

namespace tiltshift::store {
namespace {

constexpr char kEpoch[] = "ts:epoch";
constexpr char kTokens[] = "ts:tokens";

}  // namespace

Write FarmStore::PutToken(uint64_t epoch, const v1::StoredToken& token) {
  return {{"ts_put_token",
           {kEpoch, kTokens},
           {std::to_string(epoch), token.token().id(), token.SerializeAsString()}}};
}

absl::StatusOr<std::vector<v1::StoredToken>> FarmStore::LoadTokens() {
  TS_ASSIGN_OR_RETURN(const RedisReply records, client_.Run({"HVALS", kTokens}));
  std::vector<v1::StoredToken> tokens;
  for (const RedisReply& record : records.items) {
    if (!tokens.emplace_back().ParseFromString(record.text))
      return absl::DataLossError(absl::StrCat("Redis key ", kTokens, ": a record is damaged"));
  }
  return tokens;
}

}  // namespace tiltshift::store
