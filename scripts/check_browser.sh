#!/usr/bin/env bash
# The review app in a real Chromium: the front end's own checks, then every test that is marked `browser`. Installs what
# they need and is not there, as far as this machine lets it (Debian's Chromium and Node through apt-get as root or with
# sudo, the `browser` extra through pip, the front end's packages through npm); what is still missing then is skipped,
# and told at the end. About ten minutes on two idle cores.
# With --no-install nothing is installed. With --require, as the gate has it, nothing may be missing then: it fails where
# it would skip. Other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
install=yes
require=no
while true; do
  case "${1:-}" in
    --no-install) install=no ;;
    --require) require=yes ;;
    *) break ;;
  esac
  shift
done
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x .venv/bin/python ]; then
  PATH="$PWD/.venv/bin:$PATH"
fi

has_any() {
  local name
  for name in "$@"; do
    if command -v "$name" > /dev/null; then
      return 0
    fi
  done
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

# what is missing, as Debian names it
wanted=()
has_any chromium chromium-browser google-chrome google-chrome-stable chrome || wanted+=(chromium)
has_any npm || wanted+=(nodejs npm)
if [ "$install" = yes ] && [ "${#wanted[@]}" -gt 0 ]; then
  if command -v apt-get > /dev/null && as_root true 2> /dev/null; then
    echo "installing ${wanted[*]}"
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${wanted[@]}" || echo "not all of these could be installed"
  else
    echo "${wanted[*]} not here, and only root may install it: its tests are skipped"
  fi
fi
if [ "$install" = yes ] && ! python -c 'import playwright, schemathesis' 2> /dev/null; then
  echo "installing the browser extra"
  # the wheel brings no browser, and none is downloaded: tests start the system's
  python -m pip install --quiet -e '.[dev,browser]' || echo "the extra could not be installed: its tests are skipped"
fi
if [ "$install" = yes ] && has_any npm && [ ! -d runs/web/frontend/node_modules/axe-core ]; then
  (cd runs/web/frontend && npm ci --ignore-scripts --no-audit --no-fund) || echo "npm could not install: axe-core is missing"
fi

if [ "$require" = yes ]; then
  missing=()
  has_any chromium chromium-browser google-chrome google-chrome-stable chrome || missing+=("Chromium")
  has_any node && has_any npm || missing+=("Node.js with npm")
  python -c 'import playwright.sync_api, schemathesis' 2> /dev/null || missing+=("the browser extra (pip install -e '.[dev,browser]')")
  [ -f runs/web/frontend/node_modules/axe-core/axe.min.js ] || missing+=("axe-core (npm ci --ignore-scripts in runs/web/frontend)")
  if [ "${#missing[@]}" -gt 0 ]; then
    printf 'check_browser: %s is missing, and --require lets nothing be skipped\n' "${missing[@]}" >&2
    exit 1
  fi
  scripts/check_web.sh --require
else
  scripts/check_web.sh
fi

# most of a test is waiting for pages and servers, so two processes of tests for each core; only the folder with the tests
# is read: all of the suite would take each process half a minute. What is dear to make is made in one process
OMP_NUM_THREADS=1 python -m pytest -m browser -o testpaths=tests/browser -n "${BROWSER_PROCESSES:-$((2 * $(nproc)))}" \
  --maxprocesses 8 --dist loadgroup -rs --durations=15 "$@"
