// libcurl as Swift can call it: typed inlines for what is variadic or a macro.
#pragma once
// Handles become types of their own instead of `void`, so that Swift cannot mix them up.
#define CURL_STRICTER
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

/// curl_easy_setopt for options that take a long: it is variadic, which Swift cannot call.
static inline CURLcode ccurl_set_long(CURL *_Nonnull easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

/// curl_easy_setopt for options that take a curl_off_t: variadic.
static inline CURLcode ccurl_set_offset(CURL *_Nonnull easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

/// curl_easy_setopt for options that take a text, which curl copies: variadic.
static inline CURLcode ccurl_set_text(CURL *_Nonnull easy, CURLoption option, const char *_Nullable value) {
    return curl_easy_setopt(easy, option, value);
}

/// curl_easy_setopt for options that take a pointer to data: variadic.
static inline CURLcode ccurl_set_pointer(CURL *_Nonnull easy, CURLoption option, const void *_Nullable value) {
    return curl_easy_setopt(easy, option, value);
}

/// curl_easy_setopt for CURLOPT_HTTPHEADER, whose list the caller keeps: variadic.
static inline CURLcode ccurl_set_list(
    CURL *_Nonnull easy, CURLoption option, struct curl_slist *_Nullable value) {
    return curl_easy_setopt(easy, option, value);
}

/// What curl calls with bytes that came, and to get bytes to send.
typedef size_t (*ccurl_data_callback)(
    char *_Nullable bytes, size_t size, size_t count, void *_Nullable context);

/// curl_easy_setopt for CURLOPT_WRITEFUNCTION, HEADERFUNCTION and READFUNCTION: variadic.
static inline CURLcode ccurl_set_data_callback(
    CURL *_Nonnull easy, CURLoption option, ccurl_data_callback _Nonnull callback) {
    return curl_easy_setopt(easy, option, callback);
}

/// What curl calls to send a body again from an offset.
typedef int (*ccurl_seek_callback)(void *_Nullable context, curl_off_t offset, int origin);

/// curl_easy_setopt for CURLOPT_SEEKFUNCTION: variadic.
static inline CURLcode ccurl_set_seek_callback(CURL *_Nonnull easy, ccurl_seek_callback _Nonnull callback) {
    return curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, callback);
}

/// What curl calls when a connection is up, before the request is sent on it.
typedef int (*ccurl_prerequest_callback)(
    void *_Nullable context,
    char *_Nullable remote_address,
    char *_Nullable local_address,
    int remote_port,
    int local_port);

/// curl_easy_setopt for CURLOPT_PREREQFUNCTION: variadic.
static inline CURLcode ccurl_set_prerequest_callback(
    CURL *_Nonnull easy, ccurl_prerequest_callback _Nonnull callback) {
    return curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, callback);
}

/// What curl calls with a new socket: sets the limit that is its context, and says whether it is connected already.
static inline int ccurl_limit_silence(void *_Nullable context, curl_socket_t socket, curlsocktype purpose) {
    unsigned int milliseconds = (unsigned int)(uintptr_t)context;
    if (purpose == CURLSOCKTYPE_IPCXN)
        setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    return getpeername(socket, (struct sockaddr *)&peer, &length) == 0 ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

typedef curl_socket_t (*ccurl_open_socket_callback)(
    void *_Nullable context, curlsocktype purpose, struct curl_sockaddr *_Nullable address);
typedef int (*ccurl_close_socket_callback)(void *_Nullable context, curl_socket_t socket);

/// curl_easy_setopt for what makes and closes sockets: variadic.
static inline void ccurl_set_socket_callbacks(
    CURL *_Nonnull easy,
    ccurl_open_socket_callback _Nonnull open,
    ccurl_close_socket_callback _Nonnull close,
    void *_Nonnull context) {
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, context);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, context);
}

/// The address itself, `addrlen` bytes: it may be longer than its type says.
static inline const struct sockaddr *_Nonnull ccurl_address(const struct curl_sockaddr *_Nonnull address) {
    return &address->addr;
}

/// Has the kernel break connections whose bytes stay unacknowledged for so many milliseconds (TCP_USER_TIMEOUT).
///
/// curl itself keeps an HTTP/2 connection when a request on it is given up, dead or not.
static inline void ccurl_set_silence_limit(CURL *_Nonnull easy, unsigned int milliseconds) {
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, ccurl_limit_silence);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, (void *)(uintptr_t)milliseconds);
}

/// curl_easy_getinfo for values that are a long: variadic.
static inline long ccurl_info_long(CURL *_Nonnull easy, CURLINFO info) {
    long value = 0;
    curl_easy_getinfo(easy, info, &value);
    return value;
}

/// curl_easy_getinfo for values that are a curl_off_t: variadic.
static inline curl_off_t ccurl_info_offset(CURL *_Nonnull easy, CURLINFO info) {
    curl_off_t value = 0;
    curl_easy_getinfo(easy, info, &value);
    return value;
}

/// curl_easy_getinfo for CURLINFO_PRIVATE: variadic.
static inline void *_Nullable ccurl_info_private(CURL *_Nonnull easy) {
    char *value = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value);
    return value;
}

/// curl_easy_getinfo for CURLINFO_CERTINFO, the certificates that the server showed: variadic.
static inline const struct curl_certinfo *_Nullable ccurl_info_certificates(CURL *_Nonnull easy) {
    struct curl_certinfo *value = NULL;
    curl_easy_getinfo(easy, CURLINFO_CERTINFO, &value);
    return value;
}

/// curl_multi_setopt for options that take a long: variadic.
static inline CURLMcode ccurl_multi_set_long(CURLM *_Nonnull multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

/// The result in a CURLMsg: a union, of which Swift would have to guess the field.
static inline CURLcode ccurl_message_result(const CURLMsg *_Nonnull message) {
    return message->data.result;
}

/// CURL_READFUNC_ABORT and the like are untyped macros of which Swift sees only some.
enum {
    ccurl_read_abort = CURL_READFUNC_ABORT,
    ccurl_read_pause = CURL_READFUNC_PAUSE,
    ccurl_pause_nothing = CURLPAUSE_CONT,
    ccurl_prerequest_abort = CURL_PREREQFUNC_ABORT,
    ccurl_error_size = CURL_ERROR_SIZE,
};
