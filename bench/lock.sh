#!/usr/bin/env bash
# Writes requirements/bench-NAME.txt, with hashes. --upgrade takes the newest versions.
#
# bench/lock.sh sqs | rabbitmq [--upgrade]
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9 # as in tools/lock.sh

name=${1:-}
case $name in
sqs) project=(pyproject.toml --extra sqs) ;; # locked together with what the application runs with
rabbitmq) project=() ;;
*) echo "bench/lock.sh sqs | rabbitmq [--upgrade], not '$name'" >&2; exit 2 ;;
esac
shift

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"${PYTHON:-python3}" -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
"$tool/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "bench/lock.sh $name" "$@" \
    "${project[@]}" "requirements/bench-$name.in" --output-file "requirements/bench-$name.txt"
