"""`tracescribe evidence`: scans by the command line, stopped and taken up again, exported and shown."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import Done
from tracescribe.agents.toolbox import load_toolbox
from tracescribe.runs.cli import main
from tracescribe.tracer import embedded
from tracescribe.tracer.circuit_tracer_features import CircuitTracerFeatures
from tracescribe.tracer.evidence_checkpoint import CHECKPOINT
from tracescribe.tracer.evidence_manifest import MANIFEST
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_files import FeatureFiles

Run = Callable[..., Done]
SENTENCES = embedded.corpus_path().read_text(encoding="utf-8").splitlines()
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in SENTENCES[:300]), encoding="utf-8")
    return path


def test_json_lines_are_scanned_shown_and_exported(run: Run, corpus: Path, tmp_path: Path) -> None:
    build = ("evidence", "build", "--corpus", str(corpus), "--field", "body", "--out", "scan", "--json")
    done = run(*build)
    assert done.code == 0, done.err
    assert done.json["sentences"] == done.json["windows"] == 300
    again = run(*build)
    assert again.json == done.json and "scan " not in again.err, "a finished scan is not done again"
    files = FeatureFiles.load(tmp_path / "scan")
    ref = next(f"{layer}/{f}" for layer in range(4) for f in files.live(layer))
    shown = run("evidence", "show", ref, "--evidence", "scan", "--json").json
    assert shown["contexts"] and shown["n_active"] > 0
    assert "fires on" in run("evidence", "show", ref, "--evidence", "scan").out
    exported = run("evidence", "export", ref, "--evidence", "scan", "--out", "published", "--json")
    assert exported.json["files"] == 1
    told = run("evidence", "show", ref, "--evidence", "published", "--json")
    assert told.code == 0, told.err
    assert {tuple(c["tokens"]) for c in told.json["contexts"]} <= {tuple(c["tokens"]) for c in shown["contexts"]}
    text = run("evidence", "show", ref, "--evidence", "published").out
    assert "+0" not in text, "feature files give no strength of logit effects"
    assert "% of all tokens" in text and "in the file's contexts" in text


def test_agents_take_a_scan_of_any_kind(run: Run, corpus: Path, tmp_path: Path) -> None:
    assert run("evidence", "build", "--corpus", str(corpus), "--field", "body", "--out", "scan").code == 0
    assert run("evidence", "export", "--evidence", "scan", "--out", "published").code == 0
    scanned = load_toolbox("embedded", "embedded", tmp_path / "scan")
    assert isinstance(scanned.look_up, FeatureFiles) and isinstance(scanned.evidence, EvidenceStore)
    assert scanned.evidence.corpus == tuple(SENTENCES[:300])
    published = load_toolbox("embedded", "embedded", tmp_path / "published")
    assert isinstance(published.look_up, CircuitTracerFeatures) and published.evidence is None
    shipped = load_toolbox()
    assert shipped.look_up is shipped.evidence is not None


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--max-memory", "lots"), 2, "lots"),
        (("--max-memory", "1KB"), 2, "needs"),
        (("--context-size", "100000"), 2, "context size 100000 is more than model"),
        (("--field", "nothing"), 1, "has no field 'nothing'"),
        (("--split", "train"), 1, "data set"),
        (("--dtype", "int4"), 2, "int4"),
    ],
)
def test_wrong_options_leave_nothing(
    options: tuple[str, ...], code: int, told: str, run: Run, corpus: Path, tmp_path: Path
) -> None:
    defaults = () if "--field" in options else ("--field", "body")
    done = run("evidence", "build", "--corpus", str(corpus), *defaults, "--out", "scan", *options)
    assert (done.code, done.out) == (code, "")
    assert told in done.err and len(done.err.strip().splitlines()[-1]) < 500
    assert not (tmp_path / "scan").exists()


def test_another_corpus_in_the_same_folder_needs_force(run: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("\n".join(SENTENCES[:20]), encoding="utf-8")
    assert run("evidence", "build", "--corpus", "few.txt", "--out", "scan").code == 0
    refused = run("evidence", "build", "--corpus", str(corpus), "--field", "body", "--out", "scan")
    assert refused.code == 1 and "finished scan with another corpus" in refused.err and "--force" in refused.err
    forced = run("evidence", "build", "--corpus", str(corpus), "--field", "body", "--out", "scan", "--force", "--json")
    assert forced.json["sentences"] == 300


def test_ctrl_c_leaves_only_what_can_be_taken_up(
    run: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT in the middle of a scan of many shards; then the same command finishes, as if never disturbed."""
    from tracescribe.tracer import scan_plan

    monkeypatch.setattr(scan_plan.BuildSettings, "__init__", _with_small_shards(scan_plan.BuildSettings.__init__))
    command = ["evidence", "build", "--corpus", str(corpus), "--field", "body", "--out", "scan"]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may have set it to ignore
            os.dup2(writer, 2)
            code = main(command)
        finally:
            os._exit(code)
    os.close(writer)
    told = b""
    while b"  scan " not in told and (read := os.read(reader, 4096)):
        told += read
    os.kill(child, signal.SIGINT)
    while os.read(reader, 4096):
        pass
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:  # a fast machine may have finished first
        assert code == 130
        assert (tmp_path / "scan" / CHECKPOINT / "state.json").is_file()
        assert not (tmp_path / "scan" / MANIFEST).exists()
    assert run(*command).code == 0
    assert run(*command[:-1], "undisturbed").code == 0
    disturbed, undisturbed = (
        {p.name: p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()} for f in ("scan", "undisturbed")
    )
    assert disturbed == undisturbed


def _with_small_shards(init: Callable[..., None]) -> Callable[..., None]:
    def small(self: object, **settings: object) -> None:
        init(self, **{"shard_tokens": 64, **settings})

    return small
