"""A review app of its own process, over a store of its own, for measurements: what people get from `tracescribe serve`."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import WorkError

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

_PATIENCE_SECONDS = 120.0
_ANNOUNCED = "http://"


@dataclass(frozen=True)
class Site:
    """A running app.

    Attributes:
        address: `http://127.0.0.1:PORT`.
    """

    address: str

    def report_address(self) -> str:
        """The page of the newest report, with its full graph."""
        with urllib.request.urlopen(f"{self.address}/api/reports?per_page=1", timeout=_PATIENCE_SECONDS) as answer:
            found = json.load(answer)["reports"]
        if not found:
            raise WorkError("no report was brought in; see what 'tracescribe serve' says")
        return f"{self.address}/reports/{found[0]['case_id']}?view=graph"


@contextmanager
def serving(folders: Sequence[Path], store: Path) -> Iterator[Site]:
    """Serve report folders until the block ends.

    Raises:
        WorkError: the server did not come up; the message has its last line.
    """
    command = [sys.executable, "-m", "tracescribe.runs", "serve", *map(str, folders)]
    command += ["--store", str(store), "--port", "0", "--no-live"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield Site(_address(lines))
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        if process.stdout is not None:
            process.stdout.close()


def _address(lines: queue.Queue[str | None]) -> str:
    end, last = time.monotonic() + _PATIENCE_SECONDS, ""
    while time.monotonic() < end:
        try:
            line = lines.get(timeout=1)
        except queue.Empty:
            continue
        if line is None:
            break
        if _ANNOUNCED in line:
            return _ANNOUNCED + line.split(_ANNOUNCED, 1)[1].split()[0].rstrip("/")
        last = line.strip() or last
    raise WorkError(f"the review app did not come up: {last[:200] or 'it said nothing'}")


def large_report_folder(folder: Path, graph: AttributionGraph) -> None:
    """Write a graph, and a report about it by the agent that ranks by influence, as `tracescribe interpret` does.

    Nothing in it is tested: no model stands behind a made-up graph.

    Raises:
        WorkError: the report was not written; the message has the last line of what was said.
    """
    from tracescribe.tracer.graph_json import write_graph

    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "made-up.json"
    write_graph(source, graph)
    command = [sys.executable, "-m", "tracescribe.runs", "interpret", "--graph", str(source)]
    command += ["--agent", "influence", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise WorkError(f"the report of a made-up graph was not written: {' '.join(last)[:300]}")
