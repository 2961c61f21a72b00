#include "cli/pull_hub.h"

#include <curl/curl.h>

#include <memory>
#include <optional>
#include <string>

namespace restkv {
namespace {

// A connection that brings less than this over that time is dead.
constexpr long kStallBytesPerSecond = 1024;
constexpr long kStallSeconds = 30;

using Curl = std::unique_ptr<CURL, void (*)(CURL*)>;

// One attempt: what libcurl's callbacks see.
struct Attempt {
  const HubRequest& request;
  const TransferWatch& watch;
  CURL* curl;
  std::optional<OutputFile> file;  // once the body is coming: until then what was there stays
  std::uint64_t done;              // bytes in the file
  std::optional<Error> error;
};

// A body of another size than the rest of our file is somebody else's file, or an error page.
std::optional<Error> check_size(const Attempt& attempt) {
  curl_off_t length = -1;
  curl_easy_getinfo(attempt.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length < 0 || attempt.done + static_cast<std::uint64_t>(length) == attempt.request.bytes) {
    return std::nullopt;
  }
  return Error{ErrorCode::kCorrupt,
               attempt.request.url + " has " +
                   std::to_string(attempt.done + static_cast<std::uint64_t>(length)) +
                   " bytes, not " + std::to_string(attempt.request.bytes)};
}

std::optional<Error> begin_file(Attempt& attempt) {
  if (auto wrong = check_size(attempt)) return wrong;
  Result<OutputFile> file = OutputFile::open_at(attempt.request.partial, attempt.done);
  if (!file.ok()) return file.error();
  attempt.file.emplace(*std::move(file));
  return std::nullopt;
}

std::size_t take_bytes(char* data, std::size_t, std::size_t count, void* user) {
  auto& attempt = *static_cast<Attempt*>(user);
  if (!attempt.file) {
    attempt.error = begin_file(attempt);
  }
  if (!attempt.error && count > attempt.request.bytes - attempt.done) {
    attempt.error =
        Error{ErrorCode::kCorrupt, attempt.request.url + " has more than " +
                                       std::to_string(attempt.request.bytes) + " bytes"};
  }
  if (!attempt.error) {
    if (auto written = attempt.file->write(std::as_bytes(std::span(data, count))); !written) {
      attempt.error = written.error();
    }
  }
  if (attempt.error) {
    return CURL_WRITEFUNC_ERROR;
  }
  attempt.done += count;
  attempt.watch.tell(attempt.done);
  return count;
}

int stop_when_cancelled(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const Attempt*>(user)->watch.cancelled() ? 1 : 0;
}

Curl make_curl(const HubRequest& request, std::uint64_t offset) {
  static const CURLcode kInitialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  Curl curl(kInitialised == CURLE_OK ? curl_easy_init() : nullptr, &curl_easy_cleanup);
  if (curl != nullptr) {
    CURL* c = curl.get();
    curl_easy_setopt(c, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https,http,file");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "restkv");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(request.connect_timeout.count()));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
    curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(offset));
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &take_bytes);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, &stop_when_cancelled);
  }
  return curl;
}

struct Outcome {
  CURLcode code = CURLE_OK;
  long status = 0;  // of HTTP
  std::uint64_t done = 0;
};

// Asks for everything from `offset` on.
Result<Outcome> attempt_from(const HubRequest& request, const TransferWatch& watch,
                             std::uint64_t offset) {
  const Curl curl = make_curl(request, offset);
  if (curl == nullptr) {
    return Error{ErrorCode::kInternal, "libcurl could not be started"};
  }
  Attempt attempt{.request = request,
                  .watch = watch,
                  .curl = curl.get(),
                  .file = std::nullopt,
                  .done = offset,
                  .error = std::nullopt};
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &attempt);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &attempt);
  const CURLcode code = curl_easy_perform(curl.get());
  if (attempt.error) {
    return *attempt.error;
  }
  if (code == CURLE_ABORTED_BY_CALLBACK) {
    return Error{ErrorCode::kCancelled, "stopped while fetching " + request.url};
  }
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return Outcome{.code = code, .status = status, .done = attempt.done};
}

std::string refusal(const Outcome& outcome) {
  if (outcome.code == CURLE_OK) return "empty";
  if (outcome.code == CURLE_HTTP_RETURNED_ERROR) return "HTTP " + std::to_string(outcome.status);
  return curl_easy_strerror(outcome.code);
}

}  // namespace

Result<void> download_from_hub(const HubRequest& request, const TransferWatch& watch) {
  std::uint64_t done = size_or_zero(request.partial);
  if (done > request.bytes) {
    done = 0;
  }
  bool restarted = false;
  while (done < request.bytes) {
    RESTKV_ASSIGN(const Outcome outcome, attempt_from(request, watch, done));
    if (outcome.code == CURLE_RANGE_ERROR && done > 0) {
      // A server that cannot begin in the middle. One that breaks off as well would be asked for
      // the same beginning for ever.
      if (restarted) {
        return Error{ErrorCode::kNotFound,
                     request.url + ": the server breaks off and cannot go on in the middle"};
      }
      restarted = true;
      done = 0;
      continue;
    }
    if (outcome.done == done) {
      return Error{ErrorCode::kNotFound, request.url + ": " + refusal(outcome)};
    }
    done = outcome.done;
  }
  return {};
}

}  // namespace restkv
