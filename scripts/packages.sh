#!/bin/bash
# Installs those Debian packages that are missing: packages.sh build|run|test|bench|peers ...
set -eu

packages=()
for purpose in "$@"; do
    case "$purpose" in
        build) packages+=(pkg-config libfuse3-dev libcurl4-openssl-dev libsqlite3-dev libxxhash-dev) ;;
        run) packages+=(fuse3 libcurl4 libsqlite3-0 libxxhash0 ca-certificates) ;;
        test)
            packages+=(rsync git sqlite3 python3 python3-venv tar openssl mount util-linux nginx fio stress-ng strace)
            packages+=(systemd-sysv systemd-container dbus zsh fish)
            ;;
        bench) packages+=(fuse3 libfuse3-dev curl python3 tar) ;;
        peers) packages+=(rclone sshfs openssh-sftp-server) ;;
        *)
            echo "packages.sh: '$purpose' is none of build, run, test, bench, peers" >&2
            exit 1
            ;;
    esac
done

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    # Without a terminal sudo could ask for a password for ever.
    if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
fi
if ! command -v apt-get >/dev/null || ! { [ ${#as_root[@]} = 0 ] || command -v sudo >/dev/null; }; then
    echo "these Debian packages are needed and cannot be installed from here: ${missing[*]}" >&2
    exit 1
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! {
    "${as_root[@]}" apt-get -qq update &&
        "${as_root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}"
} </dev/null >/dev/null; then
    echo "these Debian packages are needed and could not be installed: ${missing[*]}" >&2
    exit 1
fi
