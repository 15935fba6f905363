#!/usr/bin/env bash
# Builds a CPython as distributions build theirs: profile-guided and link-time optimised. The benchmarks take the newest
# interpreter that they find, and one that was built without (pyenv's default) makes pure Python a fifth slower and
# nothing else, while hardly anybody runs such a one in production. Takes 10 to 20 minutes; does nothing when it is there.
#
# The source is that of Debian 13, from the mirror that apt is set up with.
set -eu
cd "$(dirname "$0")/.."
name=bench/python.sh
. tools/apt.sh

VERSION=3.13.5
SHA256=93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640
PLACE=${XDG_CACHE_HOME:-$HOME/.cache}/mulligan/python-$VERSION # bench/sqs/environment.py looks there

if [ -x "$PLACE/bin/python3.13" ]; then
    say "$PLACE is there"
    exit 0
fi
can_install || exit 1
apt_install build-essential curl xz-utils \
    libbz2-dev libexpat1-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev zlib1g-dev

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/$') ||
    { say "apt knows no mirror of Debian." && exit 1; }
archive=python3.13_$VERSION.orig.tar.xz
curl --fail --silent --show-error --location --output "$work/$archive" "${mirror}pool/main/p/python3.13/$archive"
echo "$SHA256  $work/$archive" | sha256sum --quiet --check
tar -xf "$work/$archive" -C "$work"
say "building CPython $VERSION; its words are in $work/words"
(
    cd "$work/Python-$VERSION"
    ./configure -q --prefix="$PLACE" --enable-optimizations --with-lto
    env --default-signal=INT make -j"$(nproc)" # a test that the training runs needs Ctrl-C, which `&` takes away
    make install DESTDIR="$work/root"
) >"$work/words" 2>&1 || { tail -n 20 "$work/words" >&2 && say "the build failed." && exit 1; }
mkdir -p "$(dirname "$PLACE")"
mv "$work/root$PLACE" "$PLACE"
say "$PLACE is ready"
