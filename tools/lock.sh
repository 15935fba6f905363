#!/usr/bin/env bash
# Writes requirements/run.txt, test.txt and localemu.txt, with hashes, for Python 3.11 and later on every platform.
#
# tools/lock.sh            keeps every version that still fits
# tools/lock.sh --upgrade  takes the newest ones
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"${PYTHON:-python3}" -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"

compile() {
    "$tool/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@"
}

# All extras: which broker the application uses is a setting, and changing it must not need an install.
# test.txt first: run.txt is held to its versions, so that one .venv can be both
compile "$@" pyproject.toml --all-extras requirements/build.in --group test --group check --group bench \
    --output-file requirements/test.txt
compile pyproject.toml --all-extras requirements/build.in --constraint requirements/test.txt --output-file requirements/run.txt
compile "$@" requirements/localemu.in --excludes requirements/localemu-without.txt --output-file requirements/localemu.txt
for name in sqs rabbitmq; do bench/lock.sh "$name" "$@"; done
