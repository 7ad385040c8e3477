#!/usr/bin/env bash
# Checks the review app's front end: types, unit tests, and that the committed build is what the sources give.
# Needs Node 20 and npm, and says so where they are missing; with --require it fails there, as the gate has it.
set -euo pipefail
cd "$(dirname "$0")/.."
require=no
[ "${1:-}" = "--require" ] && require=yes
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "check_web: node or npm is missing; the front end was NOT checked. Install Node 20 or later to check it." >&2
  [ "$require" = no ]
  exit
fi
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
scripts/build_web.sh --into "$fresh"
(cd runs/web/frontend && node_modules/.bin/tsc --noEmit && node test.mjs)
for file in "$fresh"/*; do
  cmp "$file" "runs/web/static/$(basename "$file")" || {
    echo "check_web: runs/web/static is not what the sources give; run scripts/build_web.sh and commit its result" >&2
    exit 1
  }
done
echo "check_web: types, unit tests and build are right"
