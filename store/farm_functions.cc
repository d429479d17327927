#include "store/farm_functions.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace tiltshift::store {

// Generated from farm_functions.lua.
extern const char kFarmFunctions[];

namespace {

// Stands in the place of the text's first line, so that the line numbers in Lua's messages hold.
constexpr char kScriptHead[] =
    "local functions = {}; local redis = setmetatable("
    "{register_function = function(name, f) functions[name] = f end}, {__index = redis})";
constexpr char kScriptTail[] = "return functions[table.remove(ARGV, 1)](KEYS, ARGV)\n";

std::string Script() {
  const std::string text = kFarmFunctions;
  return absl::StrCat(kScriptHead, text.substr(text.find('\n')), kScriptTail);
}

bool IsMissing(const RedisReply& reply) {
  return reply.kind == RedisReply::Kind::kError &&
         (absl::StrContains(reply.text, "Function not found") ||
          absl::StrContains(reply.text, "unknown command `FCALL`") ||
          absl::StrContains(reply.text, "unknown command 'FCALL'") ||
          absl::StartsWith(reply.text, "NOSCRIPT"));
}

}  // namespace

absl::Status FarmFunctions::Load() {
  const absl::Status loaded = client_.Run({"FUNCTION", "LOAD", "REPLACE", kFarmFunctions}).status();
  if (!absl::StrContains(loaded.message(), "unknown command")) {
    script_.clear();
    return loaded;
  }
  TS_ASSIGN_OR_RETURN(RedisReply sha, client_.Run({"SCRIPT", "LOAD", Script()}));
  script_ = std::move(sha.text);
  return absl::OkStatus();
}

void FarmFunctions::Append(const FunctionCall& call, RedisPipeline& pipeline) const {
  const size_t words = 3 + call.keys.size() + call.arguments.size() + !script_.empty();
  pipeline.Begin(words, call.function);
  pipeline.Add(script_.empty() ? "FCALL" : "EVALSHA");
  pipeline.Add(script_.empty() ? call.function : script_);
  pipeline.Add(std::to_string(call.keys.size()));
  for (const std::string& key : call.keys) pipeline.Add(key);
  if (!script_.empty()) pipeline.Add(call.function);
  for (const std::string& argument : call.arguments) pipeline.Add(argument);
}

absl::StatusOr<std::vector<RedisReply>> FarmFunctions::RunAll(
    const std::vector<const FunctionCall*>& calls) {
  for (bool again = false;; again = true) {
    RedisPipeline pipeline;
    for (const FunctionCall* call : calls) Append(*call, pipeline);
    TS_ASSIGN_OR_RETURN(auto replies, client_.RunPipeline(pipeline));
    if (again || std::none_of(replies.begin(), replies.end(), IsMissing)) return replies;
    TS_RETURN_IF_ERROR(Load());
  }
}

absl::StatusOr<RedisReply> FarmFunctions::Run(const FunctionCall& call) {
  TS_ASSIGN_OR_RETURN(auto replies, RunAll({&call}));
  if (replies[0].kind == RedisReply::Kind::kError)
    return Annotate(ErrorOf(replies[0]), "Redis at " + client_.address());
  return std::move(replies[0]);
}

}  // namespace tiltshift::store
