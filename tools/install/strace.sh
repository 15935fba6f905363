#!/usr/bin/env bash
# Installs strace, with which the tests kill a process at each of its commits, and does nothing when it is there.
#
# Where it can't be installed, this says so and ends well: on a laptop these tests are then skipped, with CI set they fail.
set -eu

command -v strace >/dev/null && exit 0
name=install-strace
. "$(dirname "$0")/../apt.sh"
{ can_install && apt_install strace; } ||
    say "The tests that need strace are skipped. By hand: apt-get install strace"
