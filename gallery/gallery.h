// The gallery: the farm in a browser. Pages that come with the program, and below /api what they
// ask for, answered by the farm's public services with the visitor's own token, so that who may see
// and do what is decided where it is for everybody (access/). docs/gallery.md has the pages and the
// API.
//
// What keeps others out: no script but ours (Content-Security-Policy), nothing that changes
// anything without a header that no other site can send, cookies that scripts don't see and other
// sites don't send; where nobody is asked for a token, only requests that name this machine, so
// that no name of somebody else's can be led here.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gallery/http_server.h"
#include "gallery/sessions.h"

namespace tiltshift::gallery {

struct GalleryOptions {
  std::string address;            // "host:port"; port 0: any that is free
  std::string tls_cert, tls_key;  // files; empty: plain HTTP
  bool asks_callers = false;      // visitors log in with a token
  std::shared_ptr<grpc::Channel> farm;
  // Where the leader's gallery is, perhaps empty, while this scheduler does not lead.
  std::function<std::optional<std::string>()> elsewhere = [] { return std::nullopt; };
};

class Gallery {
 public:
  // Serves when it returns; errors of HttpServer::Start. The clock must outlive it.
  static absl::StatusOr<std::unique_ptr<Gallery>> Start(GalleryOptions options, const Clock& clock);

  // "http://127.0.0.1:7080/".
  std::string url() const;
  // What is below /api, "GET /api/jobs/*", each with * for what varies.
  static std::vector<std::string> Routes();

 private:
  Gallery(GalleryOptions options, const Clock& clock);
  HttpResponse Answer(const HttpRequest& request);
  HttpResponse AnswerPage(const HttpRequest& request) const;
  HttpResponse AnswerApi(const HttpRequest& request);
  HttpResponse Me(const HttpRequest& request);
  HttpResponse LogIn(const HttpRequest& request);
  HttpResponse LogOut(const HttpRequest& request);
  std::string SessionOf(const HttpRequest& request) const;
  std::string CookieName() const;
  // The cookie's whole text; an empty id has the browser forget it.
  std::string Cookie(const std::string& id) const;

  const GalleryOptions options_;
  const std::map<std::string, HttpResponse, std::less<>> pages_;  // by their names
  Sessions sessions_;
  LoginLimits login_limits_;
  std::unique_ptr<HttpServer> server_;  // last: it calls the others
};

}  // namespace tiltshift::gallery
