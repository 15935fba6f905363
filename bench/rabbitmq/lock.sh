#!/usr/bin/env bash
# Writes requirements/bench-rabbitmq.txt, with hashes. --upgrade takes the newest versions.
set -eu
cd "$(dirname "$0")/../.."

UV_VERSION=0.13.9 # as in tools/lock.sh

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"${PYTHON:-python3}" -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
"$tool/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "bench/rabbitmq/lock.sh" "$@" \
    requirements/bench-rabbitmq.in --output-file requirements/bench-rabbitmq.txt
