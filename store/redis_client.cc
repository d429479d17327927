#include "store/redis_client.h"

#include <hiredis/hiredis.h>

#include <chrono>
#include <csignal>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

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

redisContext* Connect(const std::string& address, int timeout_ms) {
  const timeval timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000};
  if (absl::StartsWith(address, "unix:")) {
    return redisConnectUnixWithTimeout(address.c_str() + 5, timeout);
  }
  const size_t colon = address.rfind(':');
  int port = 6379;
  if (colon != std::string::npos && !absl::SimpleAtoi(address.substr(colon + 1), &port)) port = 0;
  return redisConnectWithTimeout(address.substr(0, colon).c_str(), port, timeout);
}

}  // namespace

struct RedisClient::Connection {
  explicit Connection(redisContext* c) : context(c) {}
  ~Connection() {
    if (context != nullptr) redisFree(context);
  }
  redisContext* context;
};

RedisClient::RedisClient(std::string address, int timeout_ms)
    : address_(std::move(address)), timeout_ms_(timeout_ms) {
  // hiredis writes without MSG_NOSIGNAL: a server that died must be an error, not this process'
  // end.
  std::signal(SIGPIPE, SIG_IGN);
}
RedisClient::~RedisClient() = default;

absl::Status RedisClient::Broken(const std::string& what) {
  connection_.reset();
  return absl::UnavailableError(absl::StrCat(
      "Redis at ", address_, ": ", what, "; is redis-server running, and is the address right?"));
}

absl::Status RedisClient::EnsureConnected() {
  if (connection_ != nullptr) return absl::OkStatus();
  connection_ = std::make_unique<Connection>(Connect(address_, timeout_ms_));
  redisContext* context = connection_->context;
  if (context == nullptr) return Broken("out of memory");
  if (context->err != 0) return Broken(context->errstr);
  redisSetTimeout(context, timeval{timeout_ms_ / 1000, (timeout_ms_ % 1000) * 1000});
  ++connections_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::RunAll(
    const std::vector<RedisCommand>& commands) {
  TS_RETURN_IF_ERROR(EnsureConnected());
  redisContext* context = connection_->context;
  const auto start = std::chrono::steady_clock::now();
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
  TellRoundTrip(commands,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
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
    return Annotate(ErrorOf(replies[0]), "Redis at " + address_);
  return std::move(replies[0]);
}

absl::Status ErrorOf(const RedisReply& reply) {
  if (absl::StrContains(reply.text, "No space left on device")) {
    return absl::UnavailableError(
        absl::StrCat(reply.text, "; free some space on the disk that holds Redis' file"));
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
