// libfuse3's low-level API as Swift can call it: typed inlines for what is a macro, variadic or a bit field.
#pragma once
#define FUSE_USE_VERSION 314
#include "loop.h"
#include "session.h"
#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/// fuse_session_new and fuse_opt_free_args on an array: FUSE_ARGS_INIT is a macro, and on some builds the function
/// itself is one.
static inline struct fuse_session *_Nullable cfuse_session_new(
    int count, char *_Nullable *_Nonnull arguments, const struct fuse_lowlevel_ops *_Nonnull operations,
    void *_Nullable context) {
    struct fuse_args args = FUSE_ARGS_INIT(count, arguments);
    struct fuse_session *session = fuse_session_new(&args, operations, sizeof *operations, context);
    fuse_opt_free_args(&args);
    return session;
}

/// Sets what open and create answer of the page cache: bit fields, which Swift reads and writes only one by one.
static inline void cfuse_set_keep_cache(struct fuse_file_info *_Nonnull info, int keeps) {
    info->keep_cache = keeps ? 1 : 0;
}

/// Whether a write comes from the page cache, so that the caller's process is not known: a bit field.
static inline int cfuse_is_writepage(const struct fuse_file_info *_Nonnull info) { return info->writepage; }

/// Whether a file was opened with O_DIRECT, which glibc shows for _GNU_SOURCE alone, and which is another bit on each machine.
static inline int cfuse_is_direct(const struct fuse_file_info *_Nonnull info) {
#ifdef __O_DIRECT
    return (info->flags & __O_DIRECT) != 0;
#else
    return (info->flags & O_DIRECT) != 0;
#endif
}

/// Whether a thread is the first one of its process, which has the process's number: tgkill(2), which libraries do not
/// all have, sends nothing with signal 0, and finds nobody if the two do not belong together.
static inline int cfuse_is_first_thread(int thread) {
    return thread > 0 && (syscall(SYS_tgkill, thread, thread, 0) == 0 || errno == EPERM);
}

/// The FUSE_CAP_* and FUSE_SET_ATTR_* macros are shifts, of which Swift imports not all.
enum {
    cfuse_cap_splice = FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_SPLICE_READ,
    cfuse_cap_handle_killpriv = FUSE_CAP_HANDLE_KILLPRIV,
    cfuse_set_mode = FUSE_SET_ATTR_MODE,
    cfuse_set_uid = FUSE_SET_ATTR_UID,
    cfuse_set_gid = FUSE_SET_ATTR_GID,
    cfuse_set_size = FUSE_SET_ATTR_SIZE,
    cfuse_set_atime = FUSE_SET_ATTR_ATIME,
    cfuse_set_mtime = FUSE_SET_ATTR_MTIME,
    cfuse_set_atime_now = FUSE_SET_ATTR_ATIME_NOW,
    cfuse_set_mtime_now = FUSE_SET_ATTR_MTIME_NOW,
};

/// The numbers of the system calls that open files: macros that stand for macros. Newer architectures have no open.
enum {
#ifdef SYS_open
    cfuse_call_open = SYS_open,
#else
    cfuse_call_open = -1,
#endif
    cfuse_call_openat = SYS_openat,
    cfuse_call_openat2 = SYS_openat2,
    cfuse_call_execve = SYS_execve,
    cfuse_call_execveat = SYS_execveat,
};

/// Has the kernel drop what it knows of inodes that nothing uses, together with their names: FUSE_NOTIFY_PRUNE of FUSE
/// 7.45 (Linux 6.18), for which libfuse has no function. What is in use stays as it is.
///
/// Returns 0, or a negative errno: -EINVAL from a kernel that does not know the call.
static inline int cfuse_notify_prune(
    struct fuse_session *_Nonnull session, const uint64_t *_Nonnull inodes, uint32_t count) {
    const int code = 9;
    struct {
        struct fuse_out_header header;
        uint32_t count;
        uint32_t padding;
        uint64_t spare;
    } message;
    memset(&message, 0, sizeof message);
    message.header.len = sizeof message + count * sizeof *inodes;
    message.header.error = code;
    message.count = count;
    const struct iovec parts[] = {{&message, sizeof message}, {(void *)inodes, count * sizeof *inodes}};
    return writev(fuse_session_fd(session), parts, 2) < 0 ? -errno : 0;
}

/// What libfuse's messages are handed to: a level of syslog(3) and one line.
typedef void (*cfuse_log_callback)(int level, const char *_Nonnull line);

/// Where the callback is kept: a variable of the header's own would be in no object file.
static inline cfuse_log_callback _Nullable *_Nonnull cfuse_log_target(void) {
    static cfuse_log_callback _Nullable target;
    return &target;
}

static inline void cfuse_log(enum fuse_log_level level, const char *_Nonnull format, va_list arguments) {
    char line[1024];
    vsnprintf(line, sizeof line, format, arguments);
    if (*cfuse_log_target()) (*cfuse_log_target())(level, line);
}

/// fuse_set_log_func: its callback takes a va_list, which Swift cannot read. To be called before any session.
static inline void cfuse_set_log(cfuse_log_callback _Nonnull target) {
    *cfuse_log_target() = target;
    fuse_set_log_func(cfuse_log);
}

/// The size of a regular file as the kernel knows it, without asking a server: statx(2) with AT_STATX_DONT_SYNC, which
/// the C library declares for _GNU_SOURCE alone.
///
/// Returns -1 if it is no regular file, or not known.
static inline long long cfuse_known_size(const char *_Nonnull path) {
    struct statx status;
    const unsigned int dont_sync = 0x4000;
    if (syscall(SYS_statx, AT_FDCWD, path, dont_sync, STATX_TYPE | STATX_SIZE, &status) != 0) return -1;
    if ((status.stx_mode & S_IFMT) != S_IFREG || !(status.stx_mask & STATX_SIZE)) return -1;
    return (long long)status.stx_size;
}
