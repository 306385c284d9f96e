#!/bin/bash
# Installs the programs, their man pages, completions and units: install.sh BIN [DESTDIR] [PREFIX]
#
# mount(8) looks for its helpers in /sbin alone, whatever the prefix.
set -eu
# To be read by all, whoever installs.
umask 022
bin=$1
destination=${2:-}
prefix=${3:-/usr/local}
cd "$(dirname "$0")/.."

for program in tetherfs tetherfs-server; do
    if [ ! -x "$bin/$program" ]; then
        echo "there is no $program in $bin: run make build first" >&2
        exit 1
    fi
done

to() { install -D -m "$1" "$2" "$destination$3"; }

for program in tetherfs tetherfs-server; do
    to 755 "$bin/$program" "$prefix/bin/$program"
    to 644 "man/$program.1" "$prefix/share/man/man1/$program.1"
done
to 644 man/tetherfs.toml.5 "$prefix/share/man/man5/tetherfs.toml.5"
to 644 examples/config.toml "$prefix/share/doc/tetherfs/examples/config.toml"
[ -z "$destination" ] || install -d "$destination/sbin"
if [ -w "$destination/sbin" ]; then
    for helper in mount umount; do
        ln -sf "$prefix/bin/tetherfs" "$destination/sbin/$helper.fuse.tetherfs"
    done
else
    echo "mount(8) will not know tetherfs: its helpers, links to it in /sbin, are for root to make" >&2
fi

complete() {
    install -d "$destination$(dirname "$2")"
    "$bin/tetherfs" --generate-completion-script "$1" >"$destination$2"
}
complete bash "$prefix/share/bash-completion/completions/tetherfs"
# Where the shells look: what is a package's has places of its own.
zsh=$prefix/share/zsh/site-functions fish=$prefix/share/fish/vendor_completions.d
case $prefix in
/usr) zsh=$prefix/share/zsh/vendor-completions ;;
/usr/local) fish=/etc/fish/completions ;;
esac
complete zsh "$zsh/_tetherfs"
complete fish "$fish/tetherfs.fish"

units=$prefix/lib/systemd/system
to 644 'systemd/tetherfs@.service' "$units/tetherfs@.service"
sed -i "s|/usr/bin/tetherfs|$prefix/bin/tetherfs|" "$destination$units/tetherfs@.service"
for example in mnt-data.mount mnt-data.automount; do
    to 644 "systemd/$example" "$prefix/share/doc/tetherfs/examples/$example"
done
