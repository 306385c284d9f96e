#define _GNU_SOURCE
#include "csystem.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wchar.h>

int csystem_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

uint64_t csystem_resolve_beneath(void) {
    return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
}

int csystem_renameat2(
    int old_directory, const char *old_path, int new_directory, const char *new_path, unsigned int flags) {
    return renameat2(old_directory, old_path, new_directory, new_path, flags);
}

int csystem_ioctl_int(int descriptor, unsigned long request, int value) {
    return ioctl(descriptor, request, value);
}

int csystem_reserve(int descriptor, int keeps_size, int64_t offset, int64_t length) {
    return fallocate(descriptor, keeps_size ? FALLOC_FL_KEEP_SIZE : 0, offset, length);
}

int64_t csystem_seek_hole(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_HOLE); }

int64_t csystem_seek_data(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_DATA); }

int csystem_tell_lost_writes(int descriptor) {
    return sync_file_range(descriptor, (off64_t)1 << 50, 4096, SYNC_FILE_RANGE_WAIT_BEFORE);
}

int csystem_open_direct(void) {
    return O_DIRECT;
}

void csystem_limit_heaps(int count) {
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, count);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#else
    (void)count;
#endif
}

int csystem_filesystem_type(const char *path, uint64_t *type) {
    struct statfs status;
    if (statfs(path, &status) != 0) return -1;
    *type = (uint64_t)status.f_type;
    return 0;
}

int csystem_leave_descriptors(unsigned int first) {
    return close_range(first, ~0U, CLOSE_RANGE_UNSHARE);
}

int csystem_columns(uint32_t scalar) {
    return wcwidth((wchar_t)scalar);
}
