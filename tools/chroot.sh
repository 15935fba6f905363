#!/usr/bin/env bash
# Runs a command in a clean clone of HEAD on another release of Debian: tools/chroot.sh trixie make unit
#
# Where this is that release already, it says so and does nothing. The system is made by mmdebstrap, once, and kept in
# the cache (~/.cache/mulligan); it is unpacked anew for each run, in which the tools install what they always install.
# Packages and wheels come from where this machine has them from: its mirror of Debian, its configuration of pip, its
# proxies and certificates are those of the run.
#
# Where it can't be done (no root, no mounts) it says why and ends well; with CI set it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

name=chroot
. tools/apt.sh

release=${1:-}
[ $# -ge 2 ] && [[ $release =~ ^[a-z]+$ ]] ||
    { say "expected a release of Debian and a command: tools/chroot.sh trixie make unit" && exit 2; }
shift

codename() { (. /etc/os-release && echo "${ID:-} ${VERSION_CODENAME:-}"); }
[ "$(codename)" != "debian $release" ] ||
    { say "this is Debian $release itself: '$*' is not run a second time." && exit 0; }

leave() {
    say "$@"
    [ -z "${CI:-}" ] || { say "With CI set that is a failure." && exit 1; }
    say "SKIPPED: nothing was run on Debian $release."
    exit 0
}

can_install || leave "A system is made by root."
command -v mmdebstrap >/dev/null || apt_install mmdebstrap || leave "mmdebstrap is missing."
"${as_root[@]}" unshare --mount --pid --fork true || leave "No mounts can be made here."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mulligan
system=$cache/$release.tar
work=$(mktemp -d /var/tmp/mulligan-chroot.XXXXXX)
trap '"${as_root[@]}" rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir -p "$cache/archives" "$root"

# Where this machine has Debian from, as lines of a sources.list for the other release; nothing on other systems.
sources() {
    local id here
    read -r id here <<<"$(codename)"
    [ "$id" = debian ] || return 0
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v here="$here" -v there="$release" '
            $3 == "main" && $2 ~ "^" here "(-updates|-security)?$" { sub(here, there, $2); print "deb", $1, $2, $3 }' |
        sort -u
}

make_system() {
    say "making Debian $release with mmdebstrap; it is kept as $system"
    sources >"$work/sources.list"
    apt-config dump | grep -iE '^Acquire::[^ ]*(proxy|cainfo|verify|check-)' >"$work/apt.conf" || true
    [ -s "$work/sources.list" ] || echo "deb http://deb.debian.org/debian $release main" >"$work/sources.list"
    # a machine with git, make and Python, as README.md asks for
    "${as_root[@]}" mmdebstrap --quiet --mode=root --variant=apt --include=ca-certificates,git,make,python3 \
        --aptopt="$work/apt.conf" "$release" "$work/$release.tar" "$work/sources.list" >&2
    "${as_root[@]}" mv "$work/$release.tar" "$system"
}

exec 9>"$cache/lock"
flock 9
# a month old: a new one, for the old one's updates take longer by the day
[ -n "$(find "$system" -mtime -30 2>/dev/null)" ] || make_system || leave "mmdebstrap failed; its words are above."
exec 9>&-

"${as_root[@]}" tar -C "$root" -xf "$system"
git clone --quiet . "$work/mulligan"
"${as_root[@]}" chown -R 0:0 "$work/mulligan"
"${as_root[@]}" mkdir -p "$root$HOME" "$root/src"
"${as_root[@]}" mv "$work/mulligan" "$root/src/mulligan"

python=.venv/bin/python
[ -x "$python" ] || python=python3

# The files that pip is configured by, and what is named in them and in the environment, if it is on this machine. The
# pages of an index in a folder "simple" name files beside that.
files() {
    "$python" -m pip config debug | sed -n 's/^ *\(\/.*\), exists: True$/\1/p'
    echo /etc/ssl/certs/ca-certificates.crt
    { "$python" -m pip config list && carried; } | grep -oE "(file://)?/[^'\", ]+" |
        sed -E 's,^file://,,; s,/simple/?$,,'
}

# The variables that say where things come from, and how much is to be tested.
carried() { env | grep -E '^(PIP_|MULLIGAN_TEST_|CI=|JOBS=|[a-zA-Z]+_(proxy|PROXY)=|[A-Z_]*(CERT|CA_BUNDLE|CAINFO|CA_CERTS))' || true; }

mkdir -p "$work/bound"
files | sort -u | while read -r path; do
    if [ -f "$path" ]; then
        "${as_root[@]}" mkdir -p "$root${path%/*}"
        "${as_root[@]}" cp --dereference "$path" "$root$path"
    elif [ -d "$path" ] && [[ $path != /etc/ssl/* ]]; then # the certificates there are links into the system
        printf '%s\n' "$path" >>"$work/bound/list"
    fi
done
"${as_root[@]}" cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"

mapfile -t variables < <(carried)
mapfile -t bound < <(cat "$work/bound/list" 2>/dev/null)

# The mounts and processes of a run are its own, and gone with it.
say "running '$*' on Debian $release"
"${as_root[@]}" unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 archives=$2 count=$3
    shift 3
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$archives" "$root/var/cache/apt/archives"
    for path in "${@:1:count}"; do
        mkdir -p "$root$path"
        mount --bind -o ro "$path" "$root$path"
    done
    shift "$count"
    code=0
    chroot "$root" "$@" || code=$? # not in place of this process, which as the first one takes care of orphans
    exit "$code"
' chroot "$root" "$cache/archives" "${#bound[@]}" "${bound[@]}" \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$HOME" LANG=C.UTF-8 \
    TERM="${TERM:-dumb}" "${variables[@]}" bash -c 'cd /src/mulligan && exec "$@"' chroot "$@"
