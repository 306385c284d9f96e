// What the thread sanitizer does not know of the libraries that it cannot see into. Linked into every program of ours.
//
// `Synchronization.Mutex`:
// A mutex that is free is taken and given back by an atomic exchange inlined into our code, which the sanitizer knows.
// One that somebody waits for goes through the kernel (futexes with priority inheritance) in the Swift runtime, which
// is not instrumented: the sanitizer then takes what two holders do for a race. These three functions have the names of
// the runtime's, so that our programs are linked with them. They call the runtime's and say what happened: the one edge
// that a lock makes, from who gives it back to who takes it, and no more; so no race is hidden.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *
// _MutexHandle._lockSlow(UInt32), ._tryLockSlow() -> Bool, ._unlockSlow()
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// Not there in what the build itself runs, which is linked with this too but without the sanitizer.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

SWIFT void lock_slow(uint32_t thread, SELF handle) __asm__(LOCK);
SWIFT bool try_lock_slow(SELF handle) __asm__(TRY_LOCK);
SWIFT void unlock_slow(SELF handle) __asm__(UNLOCK);

static void *runtime(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        fprintf(stderr, "tsan-runtime: the Swift runtime has no %s\n", name);
        abort();
    }
    return function;
}

SWIFT void lock_slow(uint32_t thread, SELF handle) {
    ((SWIFT void (*)(uint32_t, SELF))runtime(LOCK))(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT bool try_lock_slow(SELF handle) {
    bool is_taken = ((SWIFT bool (*)(SELF))runtime(TRY_LOCK))(handle);
    if (is_taken && __tsan_acquire) __tsan_acquire(handle);
    return is_taken;
}

SWIFT void unlock_slow(SELF handle) {
    if (__tsan_release) __tsan_release(handle);
    ((SWIFT void (*)(SELF))runtime(UNLOCK))(handle);
}

// `pthread_cancel`, which only libfuse calls, at the end of its loop: a cancelled thread leaves the sanitizer's functions
// in their middle, which then takes the whole program down. Without it the threads end by themselves just as well: the
// mount is gone by then, and the read that they wait in fails.
int pthread_cancel(unsigned long thread) {
    (void)thread;
    return 0;
}
