#!/bin/sh
# Walks docs/acceptance.md in a desktop Slicer. Usage: tests/desktop/run.sh SLICER [OUT]. SLICER: the program, or a script that starts it.
set -eu
slicer=${1:?name the Slicer to walk in} out=${2:-/tmp/fedliver-walk}
repository=$(cd "$(dirname "$0")/../.." && pwd)
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
display=""
if [ -z "${DISPLAY:-}" ]; then display="xvfb-run -a -s '-screen 0 1600x1000x24'"; fi
export FEDLIVER_HOME="$home" FEDLIVER_WALK="$out"
eval "$display" "\"$slicer\"" --no-splash --disable-settings --ignore-slicerrc \
  --additional-module-paths "\"$repository/FedLiverSlicer\"" --python-script "\"$repository/tests/desktop/acceptance.py\""
