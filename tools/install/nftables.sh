#!/usr/bin/env bash
# Installs iproute2 and nftables, with which the tests make hosts of their own and cut them off from one another, and does
# nothing when they are there.
#
# Where they can't be installed, this says so and ends well: on a laptop these tests are then skipped, with CI set they fail.
set -eu

command -v ip >/dev/null && command -v nft >/dev/null && exit 0
name=install-nftables
. "$(dirname "$0")/../apt.sh"
{ can_install && apt_install iproute2 nftables; } ||
    say "The tests that need hosts of their own are skipped. By hand: apt-get install iproute2 nftables"
