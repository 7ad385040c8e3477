#!/usr/bin/env bash
# Builds the review app's scripts and styles from runs/web/frontend into runs/web/static. Needs Node 20 and npm; the first
# time also the npm registry. The same sources and lock file give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../runs/web/frontend"
installed=node_modules/.package-lock.json
if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch "$installed"
fi
exec node build.mjs "$@"
