#!/usr/bin/env bash
# Makes .venv what it should be, and does nothing when it already is.
#
#   tools/setup.sh run    what the application needs          (requirements/run.txt)
#   tools/setup.sh test   that, the tests, checks and benches (requirements/test.txt)
#
# Everything comes from the lock file, by hash, as wheels; then the project itself, editable, built by the locked
# hatchling. Servers that tests may need one day (a message broker, a database, a browser) are no part of this: each
# gets a tools/install/NAME.sh of its own, called by the make target that needs it.
#
# PYTHON names the interpreter to use; otherwise the first of python3, python3.13, python3.12, python3.11 that is new enough.
set -eu
cd "$(dirname "$0")/.."

OLDEST="3, 11" # requires-python in pyproject.toml
VENV=.venv

say() { printf 'setup: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 2
}

level=${1:-}
lock=requirements/$level.txt
[ -n "$level" ] && [ -f "$lock" ] || stop "expected 'run' or 'test' as the only argument, got '$level'."

# What .venv was made from. Contents rather than file times, which a git checkout changes; the folder, because an
# editable install holds its path; the interpreter, because a system upgrade changes it under a venv.
fingerprint() {
    pwd -P
    "$VENV/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null || echo "no interpreter"
    cksum "requirements/$1.txt" pyproject.toml tools/setup.sh
}

is_current() { [ -f "$VENV/made-for-$1" ] && [ "$(fingerprint "$1")" = "$(cat "$VENV/made-for-$1")" ]; }

is_new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < ($OLDEST))" 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    stop "no Python ${OLDEST/, /.} or later among: ${PYTHON:-python3 python3.13 python3.12 python3.11}." \
        "Install one, or name it: make PYTHON=/path/to/python3 ..."
}

# Debian and Ubuntu split ensurepip off; without it `python3 -m venv` leaves half an environment behind.
can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv_module() {
    local package as_root=()
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null ||
        stop "$1 has no module ensurepip, so it can't make a virtual environment." \
            "Install your system's package for it, or name another interpreter: make PYTHON=..."
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            stop "$package is missing, you are not root, and there is no sudo." \
                "Run once as root: apt-get install $package"
        as_root=(sudo)
    fi
    say "$package is missing; installing it with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get install -y -q --no-install-recommends "$package" >/dev/null 2>&1 ||
        # a new machine has no package lists, an old one has links to packages that are gone
        { "${as_root[@]}" apt-get update -q >&2 &&
            "${as_root[@]}" apt-get install -y -q --no-install-recommends "$package" >&2; } ||
        stop "apt-get could not install $package; its words are above." "Install it by hand, then run make again."
    can_make_venv "$1" || stop "$package is installed, and $1 still has no module ensurepip." \
        "Name another interpreter: make PYTHON=..."
}

make_venv() {
    local python
    python=$(find_python)
    can_make_venv "$python" || install_venv_module "$python"
    say "making $VENV with $python ($("$python" -V))"
    "$python" -m venv --clear "$VENV"
}

pip_install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" ||
        stop "pip failed; its words are above. Behind a proxy or with an index of your own," \
            "configure pip as usual (pip.conf or PIP_INDEX_URL), then run make again."
}

# Two makes at once wait for one another here; where there is no flock they have to be run one by one.
hold_lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$0"
    flock 9
}

is_current "$level" && exit 0
hold_lock
is_current "$level" && exit 0

"$VENV/bin/python" -c "import sys, pip; sys.exit(sys.version_info < ($OLDEST))" 2>/dev/null || make_venv
rm -f "$VENV"/made-for-*
say "installing $lock"
# wheels only: a source package would fetch tools to build itself with, and those are in no lock
pip_install --require-hashes --only-binary :all: -r "$lock"
pip_install --no-deps --no-build-isolation --editable .
fingerprint "$level" >"$VENV/made-for-$level"
[ "$level" = run ] || fingerprint run >"$VENV/made-for-run" # test.txt is a superset, at the same versions
say "$VENV is ready"
