#!/bin/sh
# setup.sh [GOAL...] - on Debian: installs what is needed, builds, and makes the goals (demo, test).
# Needs root or sudo only if a package is missing.
set -e
cd "$(dirname "$0")"
packages=$(cat .ci/packages)
missing=
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ -n "$missing" ]; then
    echo "installing:$missing"
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    export DEBIAN_FRONTEND=noninteractive
    # Word splitting is wanted: a list of packages.
    # shellcheck disable=SC2086
    $as_root apt-get update -q && $as_root apt-get install -y -q --no-install-recommends $missing
fi
make -j"$(nproc)" all
for goal in "$@"; do
    make "$goal"
done
