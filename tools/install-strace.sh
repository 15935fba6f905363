#!/usr/bin/env bash
# Installs strace, with which the tests kill a process at each of its commits, and does nothing when it is there.
#
# Where it can't be installed, this says so and ends well: on a laptop these tests are then skipped, with CI set they fail.
set -eu

command -v strace >/dev/null && exit 0
say() { printf 'install-strace: %s\n' "$*" >&2; }
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends strace; }

say "installing strace with apt-get"
# a new machine has no package lists, an old one has links to packages that are gone
install >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -q >&2 && install >&2; } ||
    say "strace could not be installed; the tests that need it are skipped. By hand: apt-get install strace"
