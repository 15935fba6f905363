#!/usr/bin/env bash
# Installs a PostgreSQL server for the tests, with Debian's package, and does nothing when there is one.
#
# The tests start a server of their own; the package's cluster is neither made nor started. Where there is no apt-get,
# or no right to use it, this says so and ends well: on a laptop the tests of PostgreSQL are then skipped, with CI set
# they fail.
set -eu

say() { printf 'install-postgres: %s\n' "$*" >&2; }

has_server() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

leave() {
    say "$@"
    say "Without it the tests of PostgreSQL are skipped. By hand: apt-get install postgresql"
    exit 0
}

has_server && exit 0
command -v apt-get >/dev/null || leave "there is no apt-get here."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    { command -v sudo >/dev/null && sudo -n true 2>/dev/null; } || leave "you are not root, and sudo asks for a password."
    as_root=(sudo)
fi

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o Dpkg::Options::=--force-confold postgresql
}

# Debian's package makes and starts a cluster on port 5432 unless this file, which it keeps, forbids it
config=/etc/postgresql-common/createcluster.conf
if [ ! -e "$config" ]; then
    "${as_root[@]}" mkdir -p "${config%/*}"
    echo "create_main_cluster = false" | "${as_root[@]}" tee "$config" >/dev/null
fi

say "installing postgresql with apt-get"
# a new machine has no package lists, an old one has links to packages that are gone
install >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -q >&2 && install >&2; } ||
    leave "apt-get could not install postgresql; its words are above."
has_server || leave "postgresql is installed, and there is no initdb in /usr/lib/postgresql/*/bin."
say "done"
