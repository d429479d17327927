// What gRPC's own tools ask of any server: is it well (grpc.health.v1), and what does it offer
// (grpc.reflection.v1alpha). gRPC's own implementations bring threads that poll, which call.h says
// why not.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "proto/health.pb.h"
#include "scheduler/call_server.h"

namespace tiltshift::scheduler {

// Every service of the server, and the server as a whole (""), is as well as the next.
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
class Health {
 public:
  // Not serving, at first. The server must have all its other methods.
  explicit Health(CallServer& server);
  // Any thread.
  void SetServing(bool serving);

 private:
  class WatchCall;
  grpc::health::v1::HealthCheckResponse Of(const std::string& service) const;

  std::vector<std::string> services_;
  std::mutex mutex_;
  bool serving_ = false;
  std::list<std::shared_ptr<Call>> watchers_;
};

// https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
void AddReflection(CallServer& server);

}  // namespace tiltshift::scheduler
