#!/usr/bin/env bash
# Installs libfuse, with which the tests have a disk that loses its power, and does nothing when it is there.
#
# Where the kernel has no FUSE (many containers), or it can't be installed, this says so and ends well: these tests are then skipped.
set -eu

# not through a pipe: grep -q ends early, and ldconfig would fail by SIGPIPE where pipefail is set
case $(ldconfig -p 2>/dev/null) in *libfuse3.so*) exit 0 ;; esac
name=install-fuse
. "$(dirname "$0")/../apt.sh"
[ -e /dev/fuse ] || {
    say "there is no /dev/fuse here; the tests that need it are skipped."
    exit 0
}
{ can_install && apt_install fuse3; } ||
    say "The tests that need libfuse3 are skipped. By hand: apt-get install fuse3"
