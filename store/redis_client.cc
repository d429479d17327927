#include "store/redis_client.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <set>

#include "absl/strings/match.h"

namespace tiltshift::store {
namespace {

RedisReply Convert(const redisReply& reply) {
  RedisReply out;
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      out.kind = RedisReply::Kind::kInteger;
      out.integer = reply.integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.kind = RedisReply::Kind::kString;
      out.text.assign(reply.str, reply.len);
      break;
    case REDIS_REPLY_ERROR:
      out.kind = RedisReply::Kind::kError;
      out.text.assign(reply.str, reply.len);
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = RedisReply::Kind::kArray;
      out.items.reserve(reply.elements);
      for (size_t i = 0; i < reply.elements; ++i) out.items.push_back(Convert(*reply.element[i]));
      break;
    default:
      break;
  }
  return out;
}

redisContext* Open(const RedisAddress& address, int timeout_ms) {
  const timeval timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000};
  if (!address.unix_path.empty())
    return redisConnectUnixWithTimeout(address.unix_path.c_str(), timeout);
  return redisConnectWithTimeout(address.host.c_str(), address.port, timeout);
}

}  // namespace

struct RedisClient::Connection {
  explicit Connection(redisContext* c) : context(c) {}
  ~Connection() {
    if (context != nullptr) redisFree(context);
  }
  redisContext* context;
};

RedisClient::RedisClient(RedisAddress address, const Options& options)
    : address_(std::move(address)),
      shown_(address_.Shown()),
      timeout_ms_(options.timeout_ms),
      clock_(options.clock),
      backoff_({}, options.seed) {
  // hiredis writes without MSG_NOSIGNAL: a server that died must be an error, not this process'
  // end.
  std::signal(SIGPIPE, SIG_IGN);
}
RedisClient::~RedisClient() = default;

absl::Status RedisClient::Broken(const std::string& what) {
  connection_.reset();
  return absl::UnavailableError(absl::StrCat(
      "Redis at ", shown_, ": ", what, "; is redis-server running, and is the address right?"));
}

int64_t RedisClient::RetryInMs() const {
  return connection_ != nullptr ? 0 : std::max<int64_t>(0, retry_at_ms_ - clock_.SteadyMs());
}

absl::Status RedisClient::EnsureConnected() {
  if (connection_ != nullptr) return absl::OkStatus();
  if (RetryInMs() > 0) return refused_;
  refused_ = Connect();
  if (refused_.ok()) refused_ = LogIn();
  if (refused_.ok()) {
    backoff_.Reset();
    ++connections_;
  } else {
    connection_.reset();
    retry_at_ms_ = clock_.SteadyMs() + backoff_.NextMs();
  }
  return refused_;
}

absl::Status RedisClient::Connect() {
  connection_ = std::make_unique<Connection>(Open(address_, timeout_ms_));
  redisContext* context = connection_->context;
  if (context == nullptr) return Broken("out of memory");
  if (context->err != 0) return Broken(context->errstr);
  redisSetTimeout(context, timeval{timeout_ms_ / 1000, (timeout_ms_ % 1000) * 1000});
  return absl::OkStatus();
}

absl::Status RedisClient::LogIn() {
  std::vector<RedisCommand> commands;
  if (!address_.password.empty()) {
    commands.push_back({"AUTH"});
    if (!address_.user.empty()) commands.back().push_back(address_.user);
    commands.back().push_back(address_.password);
  }
  if (address_.database != 0) commands.push_back({"SELECT", std::to_string(address_.database)});
  if (commands.empty()) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const auto replies, Exchange(commands));
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].kind != RedisReply::Kind::kError) continue;
    const absl::Status error = ErrorOf(replies[i]);
    if (absl::IsUnavailable(error) || absl::IsPermissionDenied(error))
      return Annotate(error, "Redis at " + shown_);
    return absl::PermissionDeniedError(
        absl::StrCat("Redis at ", shown_, ": ", commands[i][0], " was refused: ", replies[i].text));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::RunAll(
    const std::vector<RedisCommand>& commands) {
  TS_RETURN_IF_ERROR(EnsureConnected());
  const auto start = std::chrono::steady_clock::now();
  auto replies = Exchange(commands);
  if (!replies.ok()) return replies;
  TellRoundTrip(commands,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return replies;
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::Exchange(
    const std::vector<RedisCommand>& commands) {
  redisContext* context = connection_->context;
  for (const RedisCommand& command : commands) {
    std::vector<const char*> words;
    std::vector<size_t> lengths;
    for (const std::string& word : command) {
      words.push_back(word.data());
      lengths.push_back(word.size());
    }
    if (redisAppendCommandArgv(context, static_cast<int>(words.size()), words.data(),
                               lengths.data()) != REDIS_OK) {
      return Broken(context->errstr);
    }
  }
  std::vector<RedisReply> replies;
  replies.reserve(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    void* reply = nullptr;
    if (redisGetReply(context, &reply) != REDIS_OK || reply == nullptr)
      return Broken(context->errstr);
    replies.push_back(Convert(*static_cast<redisReply*>(reply)));
    freeReplyObject(reply);
  }
  return replies;
}

void RedisClient::TellRoundTrip(const std::vector<RedisCommand>& commands, double seconds) const {
  if (round_trip_ == nullptr) return;
  std::set<std::string> functions;
  for (const RedisCommand& command : commands)
    functions.insert(command[0] == "FCALL" ? command[1] : "");
  for (const std::string& function : functions) round_trip_(function, seconds);
}

absl::StatusOr<RedisReply> RedisClient::Run(const RedisCommand& command) {
  TS_ASSIGN_OR_RETURN(auto replies, RunAll({command}));
  if (replies[0].kind == RedisReply::Kind::kError)
    return Annotate(ErrorOf(replies[0]), "Redis at " + shown_);
  return std::move(replies[0]);
}

absl::Status ErrorOf(const RedisReply& reply) {
  if (absl::StrContains(reply.text, "No space left on device")) {
    return absl::UnavailableError(
        absl::StrCat(reply.text, "; free some space on the disk that holds Redis' file"));
  }
  for (const char* refusal : {"NOAUTH", "WRONGPASS", "NOPERM"}) {
    if (!absl::StartsWith(reply.text, refusal)) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        reply.text, "; user and password come with redis://USER:PASSWORD@HOST, or from ",
        "TILTSHIFT_REDIS_USER and TILTSHIFT_REDIS_PASSWORD"));
  }
  for (const char* passing :
       {"LOADING", "BUSY", "MISCONF", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN"}) {
    if (absl::StartsWith(reply.text, passing)) return absl::UnavailableError(reply.text);
  }
  if (absl::StrContains(reply.text, "STALE_EPOCH"))
    return absl::FailedPreconditionError(reply.text);
  return absl::InternalError(reply.text);
}

}  // namespace tiltshift::store
