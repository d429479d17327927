// What the gallery's pages ask for, each a call or two of the farm's services.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gallery/farm_client.h"
#include "gallery/http_message.h"

namespace tiltshift::gallery {

struct ApiCall {
  const HttpRequest& request;
  std::vector<std::string> path;     // below /api
  std::shared_ptr<FarmClient> farm;  // as the visitor
};

struct ApiRoute {
  const char* method;
  const char* pattern;  // "jobs/*/pause"
  HttpResponse (*answer)(const ApiCall& call);
};

std::span<const ApiRoute> ApiRoutes();

// By the routes; 404 and 405 where there is none.
HttpResponse AnswerRoute(const ApiCall& call);

// "0-99,101": each index once, rising. InvalidArgument: another text, or more than `most`.
absl::StatusOr<std::vector<uint64_t>> ParseIndices(const std::string& text, size_t most);

}  // namespace tiltshift::gallery
