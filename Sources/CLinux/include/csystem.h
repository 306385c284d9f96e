// System calls that Swift cannot name: variadic, or without a wrapper in this glibc.
#pragma once
// No other system header: with _GNU_SOURCE their types would differ from those of Swift's Glibc module.
#include <stdint.h>

/// openat2(2), which glibc 2.36 does not wrap.
///
/// `resolve` takes RESOLVE_* bits (linux/openat2.h). Returns a descriptor, or -1 with errno set.
int csystem_openat2(int directory, const char *_Nonnull path, uint64_t flags, uint64_t mode, uint64_t resolve);

/// RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS: nothing outside `directory`, no link followed.
uint64_t csystem_resolve_beneath(void);

/// renameat2(2): behind _GNU_SOURCE, which the Glibc module is built without.
int csystem_renameat2(
    int old_directory, const char *_Nonnull old_path, int new_directory, const char *_Nonnull new_path,
    unsigned int flags);

/// ioctl(2) with one integer argument: variadic, which Swift cannot call.
int csystem_ioctl_int(int descriptor, unsigned long request, int value);

/// O_DIRECT of open(2): behind _GNU_SOURCE, and another bit on each machine.
int csystem_open_direct(void);

/// fallocate(2), behind _GNU_SOURCE: room for a range; the file grows to it, or keeps its size (FALLOC_FL_KEEP_SIZE).
/// Returns 0, or -1 with errno set.
int csystem_reserve(int descriptor, int keeps_size, int64_t offset, int64_t length);

/// Whether the disk failed to take what was written to a file, as far as no call on this open file has told yet:
/// sync_file_range(2), behind _GNU_SOURCE, of a range that no file here reaches, so that it waits for nothing. Returns 0, or
/// -1 with errno set.
int csystem_tell_lost_writes(int descriptor);

/// lseek(2) with SEEK_HOLE and SEEK_DATA, behind _GNU_SOURCE. Return an offset, or -1 with errno set.
int64_t csystem_seek_hole(int descriptor, int64_t offset);
int64_t csystem_seek_data(int descriptor, int64_t offset);

/// f_type of statfs(2), which the Glibc module does not have. Returns 0, or -1 with errno set.
int csystem_filesystem_type(const char *_Nonnull path, uint64_t *_Nonnull type);

/// close_range(2) with CLOSE_RANGE_UNSHARE: from then on the calling thread shares its descriptors with no other, and has
/// only those below `first`. Returns 0, or -1 with errno set: ENOSYS before Linux 5.9.
int csystem_leave_descriptors(unsigned int first);

/// wcwidth(3), behind _XOPEN_SOURCE: how many columns a Unicode scalar takes on a terminal, as far as the locale knows; -1
/// if it cannot be shown.
int csystem_columns(uint32_t scalar);

/// mallopt(3) for a process whose memory is bounded and whose threads need large buffers again and again: so many heaps at
/// most (each thread may have one of its own otherwise, which keeps what it needed at most), each with 4 MiB kept for the
/// next buffer, and a mapping of its own only for what is larger than 1 MiB.
void csystem_limit_heaps(int count);
