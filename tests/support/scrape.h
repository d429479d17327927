// What a process serves on /metrics, as Prometheus would read it.
#pragma once

#include <string>

namespace tiltshift::tests {

// A TCP port of the loopback that nobody listens on: no two calls, nor two tests that run at once,
// get the same.
int FreePort();

// GET `path` from 127.0.0.1:port, headers included; empty where nobody answers.
std::string Get(int port, const std::string& path);

// GET /metrics from 127.0.0.1:port, headers included; empty where nobody answers.
std::string Scrape(int port);

// The value of `series` ("name" or "name{label=\"value\"}") in what Scrape returned; -1 where it is
// not there.
double Sample(const std::string& metrics, const std::string& series);

}  // namespace tiltshift::tests
