// A loop of several threads that take the kernel's requests in their order, which libfuse's own does not.
#pragma once
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/// Told of each write before any later request is taken: the file handle's number, offset and count in bytes.
typedef void (*cfuse_write_callback)(uint64_t handle, uint64_t offset, uint32_t count);

/// Told that libfuse has answered the kernel's FUSE_INIT, and whether it ended the session with that, which it tells
/// nobody. Returns 0, or a negative errno to end the loop with.
typedef int (*cfuse_init_callback)(void *_Nonnull context, int has_ended);

/// What the threads of one session share.
struct cfuse_loop {
    struct fuse_session *_Nonnull session;
    cfuse_write_callback _Nonnull arrived;
    cfuse_init_callback _Nonnull answered;
    void *_Nonnull context;
    /// Held from before a request is taken until it was looked at: one thread waits for the kernel at a time.
    pthread_mutex_t taking;
    /// Guards the two below.
    pthread_mutex_t waiting;
    pthread_t waiter;
    int waits;
    /// 0, or the first negative errno.
    int result;
    /// How many threads serve.
    unsigned int serving;
};

/// Makes one, which stays until the process ends; nothing if there is no memory.
static inline struct cfuse_loop *_Nullable cfuse_loop_new(
    struct fuse_session *_Nonnull session, cfuse_write_callback _Nonnull arrived,
    cfuse_init_callback _Nonnull answered, void *_Nonnull context) {
    struct cfuse_loop *loop = calloc(1, sizeof *loop);
    if (!loop) return NULL;
    loop->session = session;
    loop->arrived = arrived;
    loop->answered = answered;
    loop->context = context;
    pthread_mutex_init(&loop->taking, NULL);
    pthread_mutex_init(&loop->waiting, NULL);
    return loop;
}

static inline void cfuse_loop_set_waiter(struct cfuse_loop *_Nonnull loop, int waits) {
    pthread_mutex_lock(&loop->waiting);
    loop->waiter = pthread_self();
    loop->waits = waits;
    pthread_mutex_unlock(&loop->waiting);
}

/// Takes the next request. Returns its length in bytes, 0 at the end, or a negative errno.
static inline int cfuse_loop_take(struct cfuse_loop *_Nonnull loop, struct fuse_buf *_Nonnull buffer) {
    pthread_mutex_lock(&loop->taking);
    int count = 0;
    if (!fuse_session_exited(loop->session)) {
        cfuse_loop_set_waiter(loop, 1);
        count = fuse_session_receive_buf(loop->session, buffer);
        cfuse_loop_set_waiter(loop, 0);
    }
    const struct fuse_in_header *header = buffer->mem;
    if (count >= (int)(sizeof *header + sizeof(struct fuse_write_in)) && header->opcode == FUSE_WRITE) {
        const struct fuse_write_in *write = (const void *)(header + 1);
        loop->arrived(write->fh, write->offset, write->size);
    }
    pthread_mutex_unlock(&loop->taking);
    return count;
}

/// Ends the wait of the thread that waits for a request, by SIGUSR2; to be repeated until the loop has ended, as one
/// that comes just before the wait is lost.
static inline void cfuse_loop_wake(struct cfuse_loop *_Nonnull loop) {
    pthread_mutex_lock(&loop->waiting);
    if (loop->waits) pthread_kill(loop->waiter, SIGUSR2);
    pthread_mutex_unlock(&loop->waiting);
}

/// Has a request answered. Returns 0, or a negative errno if nothing can be served.
static inline int cfuse_loop_process(struct cfuse_loop *_Nonnull loop, const struct fuse_buf *_Nonnull buffer) {
    const struct fuse_in_header *header = buffer->mem;
    int is_init = header->opcode == FUSE_INIT;
    fuse_session_process_buf(loop->session, buffer);
    return is_init ? loop->answered(loop->context, fuse_session_exited(loop->session)) : 0;
}

/// Serves requests on the calling thread until the session's end.
static inline void *_Nullable cfuse_loop_serve(void *_Nullable argument) {
    struct cfuse_loop *loop = argument;
    struct fuse_buf buffer = {.mem = NULL};
    while (!fuse_session_exited(loop->session)) {
        int count = cfuse_loop_take(loop, &buffer);
        int is_taken = count > 0;
        if (is_taken) count = cfuse_loop_process(loop, &buffer);
        if (count == -EINTR || (is_taken && count == 0)) continue;
        if (count < 0) __atomic_store_n(&loop->result, count, __ATOMIC_RELAXED);
        fuse_session_exit(loop->session);
    }
    free(buffer.mem);
    // Of the others one may be waiting for a request, which may never come.
    __atomic_sub_fetch(&loop->serving, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&loop->serving, __ATOMIC_ACQUIRE) > 0) {
        cfuse_loop_wake(loop);
        usleep(10000);
    }
    return NULL;
}

/// Serves requests on a number of threads, this one among them, until the session's end.
///
/// Returns 0, or the negative errno that ended it.
static inline int cfuse_loop_run(struct cfuse_loop *_Nonnull loop, unsigned int thread_count) {
    pthread_t threads[64];
    unsigned int started = 0;
    // Signals are for the threads that there were before, but for the faults of a thread itself.
    sigset_t others, before;
    sigfillset(&others);
    const int own[] = {SIGUSR2, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
    for (size_t index = 0; index < sizeof own / sizeof *own; index++) sigdelset(&others, own[index]);
    pthread_sigmask(SIG_BLOCK, &others, &before);
    // With fewer it is slower, no more.
    loop->serving = 1;
    while (started + 1 < thread_count && started < 64) {
        __atomic_add_fetch(&loop->serving, 1, __ATOMIC_ACQ_REL);
        if (pthread_create(&threads[started], NULL, cfuse_loop_serve, loop) != 0) {
            __atomic_sub_fetch(&loop->serving, 1, __ATOMIC_ACQ_REL);
            break;
        }
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    cfuse_loop_serve(loop);
    while (started > 0) pthread_join(threads[--started], NULL);
    return __atomic_load_n(&loop->result, __ATOMIC_RELAXED);
}
