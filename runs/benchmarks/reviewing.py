"""What the review app costs at the server: lists of many reports, and acts of a long review, over real HTTP.

A real `tracescribe serve` answers, in a process of its own; seconds are a client's, on the same machine, from the request
to the last byte of the answer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.limits import Limit, missed_limits
from tracescribe.runs.benchmarks.listed_reports import put_listed_reports
from tracescribe.runs.benchmarks.machine import describe_machine
from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address
from tracescribe.tracer.errors import WorkError

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_MS = 300.0
"""A page of the list of 10,000 reports stays below this: so it feels like an answer and not like waiting."""
_PATIENCE = 60.0
_OPENED = 20
_SORTS = ("newest", "score", "prompt", "refuted", "probability")
_CSRF = re.compile(rb'<meta name="csrf" content="([^"]*)"')


@dataclass(frozen=True)
class ReviewBenchSettings:
    """What is measured; 0 leaves a part out.

    Attributes:
        reports: in the store when lists are asked for.
        repeats: of each request; median, 95th percentile and the worst over all of them are told.
        acts: of one review; the last tenth of them is told.
        page_ms: what 95 of 100 pages of the list have to stay below.
    """

    reports: int = 10_000
    repeats: int = 20
    acts: int = 1_000
    page_ms: float = PAGE_MS


def bench_review(settings: ReviewBenchSettings) -> FigureBench:
    """Measure all parts.

    Raises:
        StoreError: the store cannot be used.
        WorkError: the server did not start, or did not answer as it should.
    """
    lists: list[dict[str, Figure]] = []
    acts: list[dict[str, Figure]] = []
    limit = Limit("p95_ms", "ms", below=settings.page_ms)
    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-review-") as folder:
        address = parse_address(str(Path(folder) / "store"))
        store = open_store(address, create=True)
        try:
            words = put_listed_reports(store, settings.reports)
            case_id = _put_report(store) if settings.acts else ""
        finally:
            store.close()
        with served(address) as client:
            if settings.reports:
                lists = _lists(client, settings, words, limit.told)
            if settings.acts:
                acts = _acts(client, settings.acts, case_id)
    return FigureBench(
        bench="review",
        settings=asdict(settings),
        machine=describe_machine(1),
        clock="wall",
        rows=(*lists, *acts),
        missed=missed_limits([*((row, limit) for row in lists), *((row, None) for row in acts)], "measured"),
        notes=(
            "milliseconds of a client on this machine, over one kept connection, from request to the answer's last byte;",
            "server cpu: of all its threads, the mean of these requests: what a page takes where nothing else runs;",
            "a page of the list counts, sorts and filters all reports, and counts every filter's values;",
            "the limit is of the 95th percentile.",
        ),
    )


class Client:
    """Asks one server over one connection."""

    def __init__(self, host: str, port: int, pid: int) -> None:
        self._connection = HTTPConnection(host, port, timeout=_PATIENCE)
        self._pid = pid

    def server_seconds(self) -> float | None:
        """Processor seconds that the server has taken so far; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> bytes:
        """The answer's body.

        Raises:
            WorkError: the server did not answer with 200.
        """
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: Any, csrf: str) -> Any:
        """The JSON of the answer to a JSON body.

        Raises:
            WorkError: as `get`.
        """
        headers = {"Content-Type": "application/json", "X-CSRF-Token": csrf}
        return json.loads(self._ask("POST", path, json.dumps(body).encode(), headers))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise WorkError(f"{method} {path} was answered with {answer.status}: {content[:200]!r}")
        return content


@contextmanager
def served(address: StoreAddress) -> Iterator[Client]:
    """A real server over a store, without weights, and a client of it; the server ends with the context.

    Raises:
        WorkError: it does not start.
    """
    file = address.database_file
    place = address.url if file is None else str(file.parent)
    command = [
        sys.executable,
        "-m",
        "tracescribe.runs",
        "serve",
        "--store",
        place,
        "--port",
        "0",
        "--json",
        "--no-live",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.startswith("}"):
                break
        if not told.startswith("{"):
            raise WorkError("the server of the benchmark did not start; try 'tracescribe serve' by itself")
        client = Client("127.0.0.1", int(json.loads(told)["port"]), process.pid)
        try:
            yield client
        finally:
            client.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _lists(client: Client, settings: ReviewBenchSettings, words: Sequence[str], limit: str) -> list[dict[str, Figure]]:
    last = max(1, settings.reports // 25)
    queries: dict[str, list[dict[str, str | int | float]]] = {
        "first page, each order": [{"sort": sort} for sort in _SORTS],
        "last page, each order": [{"sort": sort, "page": last} for sort in _SORTS],
        "search for a frequent word": [{"q": words[0]}],
        "search for two rare words": [{"q": f"{words[-1]} {words[-2]}"}],
        "each filter": [
            {"agent": "offline"},
            {"model": "embedded"},
            {"verdict": "refuted"},
            {"status": "accepted"},
            {"score_min": 0.5},
        ],
        "all at once": [
            {"q": words[0], "agent": "offline", "verdict": "supported", "status": "unreviewed", "sort": "score"}
        ],
    }
    rows = []
    for form, path in (("page", "/reports"), ("JSON", "/api/reports")):
        for name, asked in queries.items():
            paths = [f"{path}?{urlencode(one)}" for one in asked]
            client.get(paths[0])  # templates and statements are made once
            before = client.server_seconds()
            seconds = [_seconds(lambda one=one: client.get(one)) for one in paths for _ in range(settings.repeats)]  # type: ignore[misc]
            took = _between(before, client.server_seconds())
            rows.append(_told(f"{settings.reports:,} reports, {form}: {name}", seconds, took, limit))
    return rows


def _acts(client: Client, number: int, case_id: str) -> list[dict[str, Figure]]:
    found = _CSRF.search(client.get("/reports"))
    csrf = found[1].decode() if found is not None else ""
    path = f"/api/reports/{case_id}/review"
    state = json.loads(client.get(path))
    name = state["supernodes"][0]["supernode_id"]
    seconds, first_told, before = [], number - max(1, number // 10), None
    for place in range(number):
        if place == first_told:
            before = client.server_seconds()
        body = {
            "review_id": None,
            "expected_version": state["version"],
            "act": {"kind": "rename supernode", "supernode": name, "text": f"name {place}"},
            "why": "because",
        }
        begun = time.perf_counter()
        state = client.post(f"{path}/acts", body, csrf)
        seconds.append(time.perf_counter() - begun)
    between = client.server_seconds()
    opened = [_seconds(lambda: client.get(path)) for _ in range(_OPENED)]
    took = (_between(before, between), _between(between, client.server_seconds()))
    return [
        _told(f"an act saved, the last tenth of {number:,}", seconds[first_told:], took[0], ""),
        _told(f"a review of {number:,} acts opened", opened, took[1], ""),
    ]


def _put_report(store: Store) -> str:
    """A real report: the offline agent's, on a graph without its weights."""
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.offline import offline_agent
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.runs.review.bringing_in import bring_in
    from tracescribe.tracer.attribution import attribute
    from tracescribe.tracer.graph_json import dump, to_json
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    prompt = "the capital of the state containing Dallas is"
    graph = attribute(load_model("embedded"), load_transcoders("embedded"), prompt)
    report = offline_agent().interpret(InterpretationCase("case", graph=graph), Toolbox(), Budget())
    return bring_in(store, render_json(report).encode(), dump(to_json(graph), Path("graph.json")), "benchmark")


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _between(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _told(name: str, seconds: Sequence[float], server: float | None, limit: str) -> dict[str, Figure]:
    ordered = sorted(seconds)
    return {
        "measured": name,
        "requests": len(ordered),
        "median_ms": round(1000 * median(ordered), 1),
        "p95_ms": round(1000 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
        "worst_ms": round(1000 * ordered[-1], 1),
        "server_cpu_ms": None if server is None else round(1000 * server / len(ordered), 1),
        "limit": limit,
    }
