// do-nothing COUNT MOUNTPOINT [MIB]: a driver that knows all and asks nobody. It shows COUNT files of MIB MiB (by default
// empty) in one directory, whose bytes lie in its memory, and is what the kernel and libfuse cost: no driver answers faster.

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "a-file-of-many-";
static const double forever = 3600;
static long count;
static off_t size;
// What reads are answered from: as much as a driver has in memory, so that no cache of the processor holds it.
static const size_t content_size = 64 << 20;
static const size_t largest_read = 1 << 20;
static char *content;

// File n has the inode number n + 2, the directory FUSE_ROOT_ID.
static struct stat attributes(fuse_ino_t inode) {
    struct stat result = {.st_ino = inode};
    result.st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
    result.st_nlink = inode == FUSE_ROOT_ID ? 2 : 1;
    result.st_size = inode == FUSE_ROOT_ID ? 0 : size;
    return result;
}

static struct fuse_entry_param entry_of(fuse_ino_t inode) {
    struct fuse_entry_param entry = {.ino = inode, .attr_timeout = forever, .entry_timeout = forever};
    entry.attr = attributes(inode);
    return entry;
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    if (parent != FUSE_ROOT_ID || strncmp(name, prefix, sizeof prefix - 1) != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    char *end;
    long number = strtol(name + sizeof prefix - 1, &end, 10);
    if (*end != 0 || number < 0 || number >= count) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    struct fuse_entry_param entry = entry_of(number + 2);
    fuse_reply_entry(request, &entry);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)info;
    struct stat result = attributes(inode);
    fuse_reply_attr(request, &result, forever);
}

static void opendir_cached(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)inode;
    info->cache_readdir = 1;
    info->keep_cache = 1;
    fuse_reply_open(request, info);
}

static void open_cached(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)inode;
    info->keep_cache = 1;
    fuse_reply_open(request, info);
}

static void read_content(fuse_req_t request, fuse_ino_t inode, size_t wanted, off_t offset, struct fuse_file_info *info) {
    (void)inode, (void)info;
    size_t left = offset < size ? (size_t)(size - offset) : 0;
    if (wanted > left) wanted = left;
    // A short answer would be the file's end.
    if (wanted > largest_read) {
        fuse_reply_err(request, EIO);
        return;
    }
    fuse_reply_buf(request, content + (size_t)offset % content_size, wanted);
}

static void list(fuse_req_t request, size_t size, off_t offset, int plus) {
    char *buffer = malloc(size);
    size_t used = 0;
    for (off_t number = offset; buffer && number < count; number++) {
        char name[64];
        snprintf(name, sizeof name, "%s%07ld", prefix, (long)number);
        struct fuse_entry_param entry = entry_of(number + 2);
        char *place = buffer + used;
        size_t room = size - used;
        size_t needed = plus ? fuse_add_direntry_plus(request, place, room, name, &entry, number + 1)
                             : fuse_add_direntry(request, place, room, name, &entry.attr, number + 1);
        if (needed > room) break;
        used += needed;
    }
    if (buffer) {
        fuse_reply_buf(request, buffer, used);
    } else {
        fuse_reply_err(request, ENOMEM);
    }
    free(buffer);
}

static void readdir_names(
    fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)inode, (void)info;
    list(request, size, offset, 0);
}

static void readdir_plus(
    fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)inode, (void)info;
    list(request, size, offset, 1);
}

int main(int argument_count, char **arguments) {
    if (argument_count != 3 && argument_count != 4) {
        fprintf(stderr, "usage: do-nothing COUNT MOUNTPOINT [MIB]\n");
        return 64;
    }
    count = atol(arguments[1]);
    if (argument_count == 4) {
        size = (off_t)atol(arguments[3]) << 20;
        content = malloc(content_size + largest_read);
        if (!content) return 1;
        memset(content, 'x', content_size + largest_read);
    }
    static const struct fuse_lowlevel_ops operations = {
        .lookup = lookup,
        .getattr = getattr,
        .open = open_cached,
        .read = read_content,
        .opendir = opendir_cached,
        .readdir = readdir_names,
        .readdirplus = readdir_plus,
    };
    struct fuse_args no_options = FUSE_ARGS_INIT(1, arguments);
    struct fuse_session *session = fuse_session_new(&no_options, &operations, sizeof operations, NULL);
    if (!session) return 1;
    int status = 1;
    if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, arguments[2]) == 0) {
        status = fuse_session_loop(session) < 0;
        fuse_session_unmount(session);
    }
    fuse_session_destroy(session);
    return status;
}
