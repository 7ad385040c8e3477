#!/usr/bin/env bash
# Builds the wheel from the sdist, installs it into an empty environment away from the tree, runs the demo there, and serves
# its report: a page with what it loads, and the API's description.
# With --reuse the dependencies of the active environment (or .venv) are visible to the new one: nothing is downloaded
# for them, and the product itself still comes from the wheel alone.
set -euo pipefail
cd "$(dirname "$0")/.."
reuse=no
[ "${1:-}" = "--reuse" ] && reuse=yes
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x .venv/bin/python ]; then
  PATH="$PWD/.venv/bin:$PATH"
fi
away="$(mktemp -d)"
trap 'rm -rf "$away"' EXIT

python -m build --outdir "$away/dist" .          # sdist first, then the wheel from the sdist
echo "sdist and wheel:"
ls -l "$away/dist"

python -m venv "$away/venv"
if [ "$reuse" = yes ]; then
  # a path file makes the dependencies importable; the tree's editable install is left out of it
  site="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  target="$("$away/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  mkdir "$away/dependencies"
  for entry in "$site"/*; do
    case "$(basename "$entry")" in
      tracescribe* | __editable__* | *.pth | pip | pip-*) ;;
      *) ln -s "$entry" "$away/dependencies/" ;;
    esac
  done
  echo "$away/dependencies" > "$target/dependencies.pth"
  "$away/venv/bin/pip" install --quiet --no-deps "$away"/dist/*.whl
else
  "$away/venv/bin/pip" install --quiet "$away"/dist/*.whl
fi

cd "$away"
"$away/venv/bin/python" - "$away" <<'PYTHON'
import pathlib, sys
import tracescribe.runs, tracescribe.tracer
for module in (tracescribe.runs, tracescribe.tracer):
    home = pathlib.Path(module.__file__).resolve()
    assert home.is_relative_to(pathlib.Path(sys.argv[1]).resolve()), f"{home} is not from the wheel"
PYTHON
"$away/venv/bin/tracescribe" doctor
"$away/venv/bin/tracescribe" demo --json --out "$away/demo" > "$away/demo.json"
"$away/venv/bin/python" -c 'import json, sys; d = json.load(open(sys.argv[1])); print("verdicts:", d["verdicts"])' "$away/demo.json"
echo "the wheel runs the demo"
"$away/venv/bin/python" - "$away/demo" <<'PYTHON'
import json, re, subprocess, sys, urllib.request

words = ["-m", "tracescribe.runs", "serve", sys.argv[1], "--store", "store", "--port", "0", "--json"]
server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
try:
    said = ""
    while not said.endswith("}\n"):  # one document; an end before it is a server that did not start
        line = server.stdout.readline()
        assert line, f"the server ended: {said}"
        said += line
    address = json.loads(said)["url"].rstrip("/")

    def get(path: str) -> str:
        with urllib.request.urlopen(address + path, timeout=120) as answer:
            assert answer.status == 200, (path, answer.status)
            return answer.read().decode()

    report = "/reports/" + json.loads(get("/api/reports"))["reports"][0]["case_id"]
    loaded: set[str] = set()
    for path in ("/reports", report, "/jobs", "/audit", "/leaderboard", "/compare", "/api/docs"):
        loaded |= set(re.findall(r'(?:src|href)="(/static/[^"]+)"', get(path)))
    assert {name.partition("?")[0].rpartition(".")[2] for name in loaded} >= {"js", "css"}, loaded
    for path in (*sorted(loaded), "/api/openapi.json"):
        assert get(path), path
finally:
    server.terminate()
    server.wait(60)
print(f"the wheel serves its pages and the {len(loaded)} files that they load")
PYTHON
