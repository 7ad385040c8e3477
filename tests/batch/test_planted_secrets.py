"""A key and an address, planted wherever text comes in, stand nowhere in what a job writes, whatever it is wrapped in."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.agents.fake_server import FakeServer, Question, Reply, serving
from tests.agents.fake_thinker import think
from tests.batch.job_site import Site, prompts
from tests.runs.telemetry.otlp_receiver import Collector, collecting
from tracescribe.tracer import embedded
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.graph_json import to_json
from tracescribe.tracer.models import load_model
from tracescribe.tracer.transcoders import load_transcoders

pytestmark = pytest.mark.batch
KEY = "sk-planted-7Qm2xVt9LkR4wZ8nB3cY6dHs"
MAIL = "eve.planted@exfiltration-example.org"
TRACES = (KEY, MAIL, "exfiltration-example", "7Qm2xVt9LkR4")
"""What must be nowhere: wholes, and parts that would tell the whole."""


def leaky(question: Question) -> Reply:
    """A model that repeats the key and an address in its answers, and fails once with both in its error."""
    with _lock:
        first = not _asked
        _asked.append(question.schema_name)
    if first:
        return Reply(status=500, text=f"upstream refused Authorization: Bearer {KEY} of {MAIL}")
    reply = think(question)
    return replace(reply, text=_with_secrets(reply.text))


_asked: list[str] = []
_lock = threading.Lock()


def _with_secrets(text: str) -> str:
    """The same answer, with a secret in every longer text of it."""
    found = json.loads(text)

    def filled(value: object, field: str = "") -> object:
        if isinstance(value, dict):
            return {key: filled(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        if isinstance(value, str) and field in (
            "label",
            "rationale",
            "reason",
            "why",
            "text",
            "summary",
            "explanation",
        ):
            return f"{value} ask {MAIL} key {KEY}"
        return value

    return json.dumps(filled(found))


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """The embedded scan, in which two frequent words have become the key and the address."""
    folder = tmp_path / "inputs" / "evidence"
    store = EvidenceStore.load(embedded.evidence_dir())
    words, counts = np.unique(store.token_ids, return_counts=True)
    frequent = [int(word) for word in words[np.argsort(-counts)]][2:40]
    texts = dict(store.token_texts)
    texts |= {word: KEY if number % 2 else MAIL for number, word in enumerate(frequent)}
    replace(store, token_texts=texts).save(folder)
    return folder


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """A graph file with the address in its metadata and the key in a node's label."""
    model, transcoders = load_model(embedded.MODEL_ID), load_transcoders(embedded.MODEL_ID)
    graph = attribute(model, transcoders, prompts(1, seed=99)[0])
    document = to_json(graph)
    document["metadata"]["info"] = {"creator_name": MAIL, "note": f"made by {MAIL} with {KEY}"}
    document["metadata"]["slug"] = f"for {MAIL}"
    for node in document["nodes"][:5]:
        node["clerp"] = f"mail {MAIL} or {KEY}"
    folder = tmp_path / "inputs" / "graphs"
    folder.mkdir(parents=True)
    (folder / f"{MAIL}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """The leaky provider."""
    _asked.clear()
    with serving(leaky) as running:
        yield running


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of spans and metrics."""
    with collecting() as running:
        yield running


def test_planted_secrets_are_written_nowhere(
    tmp_path: Path, evidence: Path, graphs: Path, server: FakeServer, collector: Collector
) -> None:
    site = Site(tmp_path / "site", str(tmp_path / "site" / "store"))
    told = {
        "TRACESCRIBE_LLM_API_KEY": KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
    }
    site.environment |= told
    extra = {"weights": {"evidence": str(evidence)}, "output": {"folder": "results", "export": True}}
    log = ("--telemetry", "otlp", "--log-file", str(site.folder / "log.jsonl"), "--log-level", "debug")
    try:
        # the file of prompts is an input of the user's, and not ours to change: it lies outside
        job = site.write_job(server, [*prompts(2), f"write to {MAIL} about {KEY}"], **extra)
        inputs = tmp_path / "inputs"
        for name in ("prompts.txt", "job.json"):
            os.replace(site.folder / name, inputs / name)
        site.run("jobs", "run", str(inputs / job.name), "--yes", *log, status=None)
        settings = ("--set", f"prompts={json.dumps({'graphs': str(graphs)})}")
        site.run("jobs", "run", str(inputs / job.name), "--yes", *settings, *log, status=None)
        for command in ("show", "export"):
            more = ("--cases",) if command == "show" else ("--out", "exported")
            site.run("jobs", command, "last", *more, status=None)
        jobs = site.json("jobs", "list")
        shown = [site.json("jobs", "show", row["job_id"], "--cases") for row in jobs["jobs"]]
    finally:
        site.kill_all()
    cases = [case for one in shown for case in one["cases"]]
    assert [case["status"] for case in cases].count("done") >= 3, cases
    assert any(case["failure_kind"] == "input" for case in cases)  # the prompt with the address: words unknown
    assert server.calls > 10
    assert any(span.name.startswith("chat") for span in collector.spans)
    wire = "".join(question.user for question in server.questions)
    assert MAIL not in wire and KEY not in wire
    assert "[redacted email]" in wire  # contexts of the corpus, as the model was shown them
    everything = [(str(path), path.read_bytes()) for path in sorted(site.folder.rglob("*")) if path.is_file()]
    everything += [(f"OTLP request {number}", body) for number, body in enumerate(collector.bodies)]
    everything += [("names of files", "\n".join(map(str, site.folder.rglob("*"))).encode())]
    assert any(b"[redacted email]" in content for _, content in everything)
    leaks = [f"{place}: {secret}" for place, content in everything for secret in TRACES if _holds(content, secret)]
    assert not leaks


def _holds(content: bytes, secret: str) -> bool:
    """Whether a secret stands in some bytes, also compressed, encoded, or parted by escapes."""
    wanted = secret.encode()
    forms = [wanted, wanted.hex().encode(), secret.encode("utf-16-le"), wanted.replace(b"@", b"%40")]
    forms += [wanted.replace(b"@", b"\\u0040"), *(base64.b64encode(wanted[shift:])[:-4][2:] for shift in range(3))]
    return any(form in layer for layer in _layers(content) for form in forms)


def _layers(content: bytes, depth: int = 3) -> Iterator[bytes]:
    """The bytes, and whatever is compressed or base64-encoded within them."""
    yield content
    if not depth:
        return
    for start in [match.start() for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", content)][:200]:
        for wbits in (31, 15):
            try:
                inner = zlib.decompressobj(wbits).decompress(content[start:], 1 << 24)
            except zlib.error:
                continue
            yield from _layers(inner, depth - 1)
    runs = (match.group() for match in re.finditer(rb"[A-Za-z0-9+/]{24,}={0,2}", content))
    yield b"\0".join(base64.b64decode(run[: len(run) // 4 * 4]) for run in runs)


def test_the_search_finds_what_is_hidden() -> None:
    for wrapped in (
        gzip.compress(f"x {KEY}".encode()),
        base64.b64encode(f"ab {KEY} cd".encode()),
        zlib.compress(base64.b64encode(MAIL.encode())),
        json.dumps({"a": MAIL}).encode(),
        KEY.encode().hex().encode(),
    ):
        assert any(_holds(wrapped, secret) for secret in TRACES)
    assert not any(_holds(b"nothing here, nor there", secret) for secret in TRACES)
