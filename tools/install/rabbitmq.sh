#!/usr/bin/env bash
# Installs RabbitMQ, amqp-tools and openssl for the tests, with Debian's packages, and does nothing when they are there.
#
# The tests start a server of their own; the package's service is not started. Where there is no apt-get, or no right
# to use it, this says so and ends well: on a laptop the tests of RabbitMQ are then skipped, with CI set they fail.
set -eu

PACKAGES=(rabbitmq-server amqp-tools openssl)
SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server

name=install-rabbitmq
. "$(dirname "$0")/../apt.sh"

[ -x "$SERVER" ] && command -v amqp-publish >/dev/null && command -v openssl >/dev/null && exit 0

leave() {
    say "Without it the tests of RabbitMQ are skipped. By hand: apt-get install ${PACKAGES[*]}"
    exit 0
}

can_install || leave

# asked by Debian's invoke-rc.d before it starts a service; 101 forbids it. One that is there already stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

apt_install "${PACKAGES[@]}" || leave
[ -x "$SERVER" ] || { say "rabbitmq-server is installed, and $SERVER is not there." && leave; }
say "done"
