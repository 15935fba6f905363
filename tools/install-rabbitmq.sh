#!/usr/bin/env bash
# Installs RabbitMQ, amqp-tools and openssl for the tests, with Debian's packages, and does nothing when they are there.
#
# The tests start a server of their own; the package's service is not started. Where there is no apt-get, or no right
# to use it, this says so and ends well: on a laptop the tests of RabbitMQ are then skipped, with CI set they fail.
set -eu

PACKAGES=(rabbitmq-server amqp-tools openssl)
SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server

say() { printf 'install-rabbitmq: %s\n' "$*" >&2; }

[ -x "$SERVER" ] && command -v amqp-publish >/dev/null && command -v openssl >/dev/null && exit 0

leave() {
    say "$@"
    say "Without it the tests of RabbitMQ are skipped. By hand: apt-get install ${PACKAGES[*]}"
    exit 0
}

command -v apt-get >/dev/null || leave "there is no apt-get here."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    { command -v sudo >/dev/null && sudo -n true 2>/dev/null; } || leave "you are not root, and sudo asks for a password."
    as_root=(sudo)
fi

# asked by Debian's invoke-rc.d before it starts a service; 101 forbids it. One that is there already stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${PACKAGES[@]}"
}

say "installing ${PACKAGES[*]} with apt-get"
# a new machine has no package lists, an old one has links to packages that are gone
install >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -q >&2 && install >&2; } ||
    leave "apt-get could not install ${PACKAGES[*]}; its words are above."
[ -x "$SERVER" ] || leave "rabbitmq-server is installed, and $SERVER is not there."
say "done"
