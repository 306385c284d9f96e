#!/bin/bash
# Fails, saying why, if nothing can be mounted here.
set -eu

fail() {
    echo "the tests mount real filesystems, but $1" >&2
    exit 1
}

[ -c /dev/fuse ] || fail "there is no /dev/fuse: modprobe fuse (a container needs --device /dev/fuse)"
reason=$( (exec 3<>/dev/fuse) 2>&1) || fail "/dev/fuse cannot be opened: ${reason##*: }"
