#!/usr/bin/env bash
# The long suites of batch jobs: kills, faults, PostgreSQL, Ray. Installs what they need and is not there, as far as this
# machine lets it (Debian's PostgreSQL through apt-get as root or with sudo, the extras through pip); what is still
# missing then is skipped, and told at the end. About twenty minutes on two idle cores.
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

has_postgres() {
  command -v postgres > /dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

if [ "$install" = yes ] && ! has_postgres; then
  if command -v apt-get > /dev/null && as_root true 2> /dev/null; then
    echo "installing PostgreSQL"
    # the tests start servers of their own: no cluster of the system is made
    as_root mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" | as_root tee /etc/postgresql-common/createcluster.d/tests.conf > /dev/null
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends postgresql || echo "PostgreSQL could not be installed"
  else
    echo "PostgreSQL is not here, and only root may install it: its tests are skipped"
  fi
fi
if [ "$install" = yes ] && ! python -c 'import ray, psycopg, opentelemetry.sdk' 2> /dev/null; then
  echo "installing the extras"
  python -m pip install --quiet -e '.[dev,ray]' || echo "the extras could not be installed: their tests are skipped"
fi

if [ "$require" = yes ]; then
  missing=()
  has_postgres || missing+=("PostgreSQL (Debian's package postgresql)")
  python -c 'import ray, psycopg, opentelemetry.sdk' 2> /dev/null || missing+=("an extra (pip install -e '.[dev,ray]')")
  if [ "${#missing[@]}" -gt 0 ]; then
    printf 'check_batch: %s is missing, and --require lets nothing be skipped\n' "${missing[@]}" >&2
    exit 1
  fi
fi

# some of a test is waiting, so three processes of tests for two cores; a file stays in one of them, for what its tests share;
# only the folders with the tests are read
OMP_NUM_THREADS=1 python -m pytest -m batch -o "testpaths=tests/batch tests/runs" -n "${BATCH_PROCESSES:-3}" --dist loadfile -rs --durations=15 "$@"
