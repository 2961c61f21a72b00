#pragma once

// A web server on 127.0.0.1 for the tests: one file, byte ranges, and the faults that a download
// meets.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace restkv {

struct ServerFaults {
  std::size_t cut_after = SIZE_MAX;  // body bytes before the connection is closed
  std::string status = {};           // answered in place of the file, "404 Not Found"
  enum class Ranges { kHonoured, kIgnored } ranges = Ranges::kHonoured;
};

class HttpServer {
 public:
  HttpServer(std::string body, ServerFaults faults)
      : body_(std::move(body)), faults_(std::move(faults)) {
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    listen(socket_, 8);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // First byte that each request so far asked for.
  [[nodiscard]] std::vector<std::size_t> offsets() const {
    const std::lock_guard lock(mutex_);
    return offsets_;
  }

 private:
  void serve() {
    for (int peer = accept(socket_, nullptr, nullptr); peer >= 0;
         peer = accept(socket_, nullptr, nullptr)) {
      answer(peer);
      close(peer);
    }
  }

  void answer(int peer) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = read(peer, buffer, sizeof buffer);
      if (n <= 0) {
        return;
      }
      request.append(buffer, static_cast<std::size_t>(n));
    }
    const std::size_t range = request.find("Range: bytes=");
    const std::size_t asked =
        range == std::string::npos ? 0 : std::strtoull(request.c_str() + range + 13, nullptr, 10);
    {
      const std::lock_guard lock(mutex_);
      offsets_.push_back(asked);
    }
    const bool partial = asked > 0 && faults_.ranges == ServerFaults::Ranges::kHonoured;
    const std::string rest = body_.substr(partial ? asked : 0);
    std::string head = "HTTP/1.1 " + (partial ? "206 Partial Content" : std::string("200 OK")) +
                       "\r\nContent-Length: " + std::to_string(rest.size()) + "\r\n";
    if (partial) {
      head += "Content-Range: bytes " + std::to_string(asked) + "-" +
              std::to_string(body_.size() - 1) + "/" + std::to_string(body_.size()) + "\r\n";
    }
    std::string reply = head + "Connection: close\r\n\r\n" + rest.substr(0, faults_.cut_after);
    if (!faults_.status.empty()) {
      reply = "HTTP/1.1 " + faults_.status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    }
    for (std::size_t sent = 0; sent < reply.size();) {
      const ssize_t n = send(peer, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) {
        return;
      }
      sent += static_cast<std::size_t>(n);
    }
  }

  std::string body_;
  ServerFaults faults_;
  int socket_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::size_t> offsets_;
  std::thread thread_;
};

}  // namespace restkv
