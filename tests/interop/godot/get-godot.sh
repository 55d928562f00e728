#!/bin/sh
# Unpacks Godot 4.6.3 and 3.6.2 with every library they need into a cache folder, installing
# nothing: about 190 MB of Debian packages, 560 MB unpacked, two minutes. Run again: does nothing.
#   get-godot.sh [FOLDER]      default: $BOWLINE_GODOT or ~/.cache/bowline-godot
set -eu
ROOT=${1:-${BOWLINE_GODOT:-$HOME/.cache/bowline-godot}}
[ -x "$ROOT/root/usr/bin/godot" ] && { echo "$ROOT/root is there"; exit 0; }
rm -rf "$ROOT/unpacked"
mkdir -p "$ROOT/lists/partial" "$ROOT/archives/partial" "$ROOT/unpacked"
cd "$ROOT"
# The same Debian mirror that this machine already uses, its unstable suite.
MIRROR=$(sed -n 's/^URIs: *//p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -m1 '/debian/\{0,1\}$')
echo "deb $MIRROR sid main" > sid.list
: > status
O="-o Dir::Etc::sourcelist=$ROOT/sid.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$ROOT/lists
   -o Dir::State::status=$ROOT/status -o Dir::Cache::archives=$ROOT/archives -o APT::Architectures=amd64
   -o APT::Sandbox::User=root -o Debug::NoLocking=1"
apt-get $O -q update
apt-get $O -q install --no-install-recommends --download-only -y godot godot3-server
for d in archives/*.deb; do
    dpkg-deb --fsys-tarfile "$d" | tar -x -C unpacked --keep-directory-symlink \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*'
done
rm -rf archives
mv unpacked root
echo "unpacked into $ROOT/root"
