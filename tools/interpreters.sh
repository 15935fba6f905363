#!/usr/bin/env bash
# Runs a command of make in a clean clone of HEAD, once on each further CPython of this machine: tools/interpreters.sh unit
#
# Each release from the oldest that is supported (3.11.2 and 3.11.7 are two), the newest first, up to the first that is
# red; each gets a .venv of its own from tools/setup.sh. Left out are the one of .venv, which the other tiers run on, and
# what no package of the lock files is built for: free-threaded builds and those before a release. They are looked for
# in PATH and among those of pyenv.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'interpreters: %s\n' "$*" >&2; }

[ $# -ge 1 ] || { say "expected a target of make: tools/interpreters.sh unit" && exit 2; }

# Prints what an interpreter is ("3.12.1 (main, ...) [GCC ...]"), a tab and its path; nothing for those that are left out.
describe() {
    "$1" -c '
import os, sys, sysconfig
is_ready = sys.version_info >= (3, 11) and sys.version_info.releaselevel == "final" # requires-python in pyproject.toml
if sys.implementation.name == "cpython" and is_ready and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print(" ".join(sys.version.split()), os.path.realpath(sys.executable), sep="\t")
' 2>/dev/null || true
}

candidates() {
    local folder
    local IFS=:
    for folder in $PATH "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do
        printf '%s\n' "$folder"/python3 "$folder"/python3.[0-9]*
    done | grep -E '/python3(\.[0-9]+)?$' | awk '!seen[$0]++'
}

here=$(describe .venv/bin/python)
found=$(candidates | while read -r one; do [ ! -x "$one" ] || describe "$one"; done |
    sort --version-sort --reverse | awk -F '\t' -v here="${here%%$'\t'*}" 'NF == 2 && $1 != here && !seen[$1]++')
[ -n "$found" ] || { say "there is no CPython but ${here%% *} on this machine: nothing to do." && exit 0; }

work=$(mktemp -d /var/tmp/mulligan-interpreters.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
while IFS=$'\t' read -r version python <&3; do
    began=$SECONDS
    folder=$work/${version%% *}
    say "running 'make $*' on CPython ${version%% *} ($python)"
    git clone --quiet . "$folder"
    make --no-print-directory -C "$folder" "$@" PYTHON="$python" ||
        { say "'make $*' is red on CPython ${version%% *} ($python)" && exit 1; }
    say "'make $*' took $((SECONDS - began)) s on CPython ${version%% *}"
    rm -rf --one-file-system "$folder"
done 3<<<"$found"
