#!/usr/bin/env bash
# Installs a PostgreSQL server for the tests, with Debian's package, and does nothing when there is one.
#
# The tests start a server of their own; the package's cluster is neither made nor started. Where there is no apt-get,
# or no right to use it, this says so and ends well: on a laptop the tests of PostgreSQL are then skipped, with CI set
# they fail.
set -eu

name=install-postgres
. "$(dirname "$0")/../apt.sh"

has_server() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

leave() {
    say "Without it the tests of PostgreSQL are skipped. By hand: apt-get install postgresql"
    exit 0
}

has_server && exit 0
can_install || leave

# Debian's package makes and starts a cluster on port 5432 unless this file, which it keeps, forbids it
config=/etc/postgresql-common/createcluster.conf
if [ ! -e "$config" ]; then
    "${as_root[@]}" mkdir -p "${config%/*}"
    echo "create_main_cluster = false" | "${as_root[@]}" tee "$config" >/dev/null
fi

apt_install -o Dpkg::Options::=--force-confold postgresql || leave
has_server || { say "postgresql is installed, and there is no initdb in /usr/lib/postgresql/*/bin." && leave; }
say "done"
