#!/bin/bash
# Makes a Debian package of programs that are built: deb.sh BIN DIRECTORY, and prints its path.
set -eu
bin=$1
folder=$2
here=$(dirname "$0")
version=$("$bin/tetherfs" --version)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# Files of a package are root's, and to be read by all, whoever makes it.
umask 022
chmod 755 "$tree"

"$here/install.sh" "$bin" "$tree" /usr
# /sbin is a link to it on Debian 12, which a package must not replace.
mv "$tree/sbin" "$tree/usr/sbin"
strip "$tree/usr/bin/tetherfs" "$tree/usr/bin/tetherfs-server"
gzip -9n "$tree"/usr/share/man/man[15]/*.[15]

install -d "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: tetherfs
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The tetherfs project <maintainers@tetherfs.invalid>
Section: utils
Priority: optional
Depends: fuse3, libc6 (>= 2.36), libcurl4 (>= 7.88), libfuse3-3 (>= 3.14), libgcc-s1 (>= 12), libsqlite3-0 (>= 3.40),
 libstdc++6 (>= 12), libxxhash0 (>= 0.8), ca-certificates
Description: mount remote filesystems of the Filesystems API
 The driver tetherfs mounts a filesystem of a compute service at a directory;
 tetherfs-server serves the same API from a folder.
CONTROL

# Nothing stays mounted by a program that is gone: what waits is uploaded first. A mount that cannot be ended keeps
# the package, also one of a service, which itself would take it from under who uses it: services are stopped last,
# for those that have no mount.
cat >"$tree/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ]; then
    # As it is before the first is gone, and the last mounted first: it may be on another.
    mounts=$(tac /proc/self/mounts)
    while read -r _ place type _; do
        [ "$type" = fuse.tetherfs ] || continue
        # The kernel's \040 is printf's \0040, the digits after it whatever they are; the dot keeps a line end.
        place=$(printf '%b.' "$(printf '%s' "$place" | sed 's/\\/\\0/g')")
        tetherfs unmount -- "${place%.}"
    done <<MOUNTS
$mounts
MOUNTS
    if [ -d /run/systemd/system ]; then
        systemctl stop 'tetherfs@*.service' || true
    fi
fi
PRERM
cat >"$tree/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
POSTINST
cp "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
# That a service is enabled is configuration, which a removal leaves.
cat >>"$tree/DEBIAN/postrm" <<'POSTRM'
if [ "$1" = purge ] && [ -d /etc/systemd/system ]; then
    find /etc/systemd/system -path '*.wants/tetherfs@*' -lname '*/lib/systemd/system/tetherfs@.service' -delete
fi
POSTRM
chmod 755 "$tree"/DEBIAN/p*

mkdir -p "$folder"
package=$folder/tetherfs_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
