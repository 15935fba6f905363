#!/usr/bin/env bash
# Makes .venv-localemu, in which the outside checks of SQS run: localemu, an SQS server of other people's, and Celery.
# Does nothing when it is there and current. Everything comes from requirements/localemu.txt, by hash, as wheels.
#
# Its own environment, because localemu pins the AWS libraries to versions of its own. Of what it declares, only what
# its SQS needs is installed (requirements/localemu-without.txt lists what is left out), so nothing is resolved here.
#
# Where it can't be installed this says so and ends well: on a laptop the outside checks are then skipped, with CI set
# they fail.
set -eu
cd "$(dirname "$0")/../.."

VENV=.venv-localemu
LOCK=requirements/localemu.txt
FIX=tools/localemu_on_311.py
PYTHON=.venv/bin/python # made by tools/setup.sh; known to be able to make environments

say() { printf 'install-localemu: %s\n' "$*" >&2; }

leave() {
    say "$@"
    say "Without it the outside checks of SQS are skipped. Again by hand: tools/install/localemu.sh"
    exit 0
}

fingerprint() {
    pwd -P
    "$VENV/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null || echo "no interpreter"
    cksum "$LOCK" "$FIX" tools/install/localemu.sh
}

is_current() { [ -f "$VENV/made" ] && [ "$(fingerprint)" = "$(cat "$VENV/made")" ]; }

# Two makes at once wait for one another here; where there is no flock they have to be run one by one.
hold_lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$0"
    flock 9
}

is_current && exit 0
hold_lock
is_current && exit 0

[ -x "$PYTHON" ] || leave "$PYTHON is not there: run make setup first."
say "making $VENV from $LOCK"
"$PYTHON" -m venv --clear "$VENV" || leave "$PYTHON can't make an environment; its words are above."
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --require-hashes --no-deps --only-binary :all: -r "$LOCK" || leave "pip failed; its words are above."
"$VENV/bin/python" "$FIX" "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" ||
    leave "$LOCK has another localemu than the one that $FIX knows."
fingerprint >"$VENV/made"
say "$VENV is ready"
