#!/bin/bash
# The demo: a server with a user and a filesystem, mounted at demo/mnt.
#
#   demo.sh start BIN   BIN is the directory of tetherfs and tetherfs-server
#   demo.sh stop
#
# All that it makes is in demo/, and stop removes that:
#   bin          the path of the programs in use       server.pid   the server's process
#   data, cache  what the server and the driver keep   server.log   what the server says
#   key          the user's API key                    mnt          the mount point
set -euo pipefail
cd "$(dirname "$0")/.."
demo=$PWD/demo
mount_point=$demo/mnt

step() { echo "==> $*"; }

fail() {
    echo "demo: $*" >&2
    exit 1
}

# Whether something is mounted at demo/mnt, dead or alive: asks the kernel's table and never the mount.
is_mounted() {
    awk -v path="${mount_point// /\\\\040}" '$5 == path { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# Whether the process that demo/server.pid names is still our server; process ids are used again.
is_server_running() {
    local pid arguments
    pid=$(cat "$demo/server.pid" 2>/dev/null) || return 1
    mapfile -d '' -t arguments 2>/dev/null <"/proc/$pid/cmdline" || return 1
    [ "${#arguments[@]}" -gt 3 ] && [ "${arguments[0]##*/}" = tetherfs-server ] &&
        [ "${arguments[3]}" = "$demo/data" ]
}

# Calls a function ten times a second until it succeeds, for so many seconds at most.
wait_until() {
    local tries=$((10 * $1))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

is_server_listening() { grep -q '^tetherfs-server: listening on ' "$demo/server.log"; }
# Its arguments are no sign yet: for a moment it is still setsid.
has_server_settled() { is_server_listening || [ ! -d "/proc/$(cat "$demo/server.pid")" ]; }
has_server_ended() { ! is_server_running; }

# Starts the server on the port it had before, at first on one that the system chooses.
start_server() {
    local address=127.0.0.1:0
    [ ! -f "$demo/endpoint" ] || address=$(sed 's|^http://||' "$demo/endpoint")
    : >"$demo/server.log"
    # A session of its own: Ctrl-C here is not for it.
    setsid "$bin/tetherfs-server" serve --data-dir "$demo/data" --listen "$address" \
        </dev/null >>"$demo/server.log" 2>&1 &
    echo $! >"$demo/server.pid"
    wait_until 30 has_server_settled || fail "the server does not answer; see demo/server.log"
    is_server_listening || fail "the server ended: $(tail -n 1 "$demo/server.log")"
    sed -n 's/^tetherfs-server: listening on //p' "$demo/server.log" >"$demo/endpoint"
}

stop_server() {
    is_server_running || return 0
    local pid
    pid=$(cat "$demo/server.pid")
    kill "$pid" || true
    # It may take 10 s to end what is under way.
    wait_until 20 has_server_ended || kill -9 "$pid"
    wait_until 10 has_server_ended || fail "the server (process $pid) does not end"
}

# Makes tetherfs find the demo's server.
use_endpoint() {
    TETHERFS_ENDPOINT=$(cat "$demo/endpoint")
    export TETHERFS_ENDPOINT TETHERFS_API_KEY_FILE="$demo/key"
}

mount_filesystem() {
    "$bin/tetherfs" mount demo "$mount_point" --cache-dir "$demo/cache"
}

stop() {
    [ -e "$demo" ] || return 0
    [ -O "$demo" ] || [ "$(id -u)" = 0 ] || fail "demo/ is another user's: that user or root can stop it"
    bin=$(cat "$demo/bin" 2>/dev/null) || bin=
    if is_mounted; then
        [ -x "$bin/tetherfs" ] || fail "demo/mnt is mounted, and $bin/tetherfs to unmount it is gone: make build"
        # A server that died is started again, so that the driver can upload what it still has.
        is_server_running || start_server
        # The watcher of a driver that died may be faster.
        "$bin/tetherfs" unmount "$mount_point" || ! is_mounted || fail "demo/mnt stays as it is"
        ! is_mounted || fail "something else is mounted at demo/mnt"
    fi
    stop_server
    rm -rf --one-file-system "$demo"
}

start() {
    bin=$(cd "$1" && pwd) || fail "there is no directory $1"
    for program in tetherfs tetherfs-server; do
        [ -x "$bin/$program" ] || fail "there is no $bin/$program"
    done
    if [ -e "$demo" ]; then
        step "stopping the demo that is there"
        stop
    fi
    mkdir demo demo/mnt
    echo "$bin" >demo/bin
    trap 'echo "demo: failed; see demo/server.log and demo/cache/log/; to clean up: make demo-stop" >&2' EXIT

    step "starting the server"
    start_server
    use_endpoint
    step "adding a user, with the key in demo/key"
    (
        umask 077
        "$bin/tetherfs-server" user add demo --data-dir "$demo/data" | sed -n 's/^api key: //p' >demo/key
    )
    step "creating the filesystem \"demo\""
    "$bin/tetherfs" filesystems create demo
    step "mounting it at demo/mnt"
    mount_filesystem
    step "copying Sources and docs into it"
    cp -a Sources docs demo/mnt/
    step "unmounting and mounting again, so that all of it comes from the server"
    "$bin/tetherfs" unmount "$mount_point"
    mount_filesystem
    ls -l demo/mnt demo/mnt/docs
    step "reading everything back and comparing"
    diff -r Sources demo/mnt/Sources
    diff -r docs demo/mnt/docs
    step "$(find demo/mnt -type f | wc -l) files are the same"

    trap - EXIT
    echo "Work in demo/mnt as in any folder: cp, mv, rm, mkdir, an editor, git clone."
    echo "See it from outside: ${bin#"$PWD/"}/tetherfs filesystems list --endpoint $TETHERFS_ENDPOINT --api-key-file demo/key"
    echo "Stop with \"make demo-stop\": it uploads what is left, unmounts, and removes demo/ with all that is in it."
}

case "${1:-}" in
    start) start "${2:?the directory of the programs}" ;;
    stop) stop ;;
    *) fail "'${1:-}' is neither start nor stop" ;;
esac
