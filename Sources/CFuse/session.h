// Mounts a session, and completes libfuse's answer to the kernel's FUSE_INIT.
#pragma once
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/// The FUSE_INIT that this thread has taken and not answered yet, if the kernel offers FUSE_PARALLEL_DIROPS with it; else 0.
static inline uint64_t *_Nonnull cfuse_init_request(void) {
    static _Thread_local uint64_t unique;
    return &unique;
}

static inline ssize_t cfuse_read(
    int descriptor, void *_Nonnull buffer, size_t length, void *_Nullable context) {
    (void)context;
    const ssize_t count = read(descriptor, buffer, length);
    const struct fuse_in_header *header = buffer;
    const struct fuse_init_in *offer = (const struct fuse_init_in *)(header + 1);
    const size_t least = sizeof *header + offsetof(struct fuse_init_in, flags) + sizeof offer->flags;
    if (count >= (ssize_t)least && header->opcode == FUSE_INIT) {
        *cfuse_init_request() = offer->flags & FUSE_PARALLEL_DIROPS ? header->unique : 0;
    }
    return count;
}

static inline ssize_t cfuse_write(
    int descriptor, struct iovec *_Nonnull parts, int count, void *_Nullable context) {
    (void)context;
    uint64_t *request = cfuse_init_request();
    if (*request && count == 2) {
        const struct fuse_out_header *header = parts[0].iov_base;
        struct fuse_init_out *answer = parts[1].iov_base;
        const size_t least = offsetof(struct fuse_init_out, flags) + sizeof answer->flags;
        if (header->unique == *request && !header->error && parts[1].iov_len >= least) {
            answer->flags |= FUSE_PARALLEL_DIROPS;
        }
    }
    // It is answered by the thread that has taken it, before that does anything else.
    *request = 0;
    return writev(descriptor, parts, count);
}

/// fuse_session_mount, with FUSE_PARALLEL_DIROPS: libfuse 3.14 leaves that out of its answer although it is on by default,
/// and then the kernel has one operation at a time in a directory. Returns 0, or another value as that does.
static inline int cfuse_session_mount(
    struct fuse_session *_Nonnull session, const char *_Nonnull mount_point) {
    const struct fuse_custom_io io = {.read = cfuse_read, .writev = cfuse_write};
    const int result = fuse_session_mount(session, mount_point);
    if (result != 0) return result;
    return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
