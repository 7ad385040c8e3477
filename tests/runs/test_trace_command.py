"""`trace`: targets, formats, memory and what an interrupt leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_files import read_graph_file
from tracescribe.tracer.graph_json import read_graph

Run = Callable[..., Any]
DALLAS = "the capital of the state containing Dallas is"


def logits(graph: AttributionGraph) -> dict[str, dict[str, float]]:
    """Edges into each output, by label and source id."""
    labels = {int(i): graph.labels[int(i)].split('"')[1].strip() for i in graph.of_kind(NodeKind.LOGIT)}
    edges: dict[str, dict[str, float]] = {label: {} for label in labels.values()}
    for target, source, weight in zip(graph.edges.target, graph.edges.source, graph.edges.weight, strict=True):
        if int(target) in labels:
            edges[labels[int(target)]][graph.node_ids[source]] = float(weight)
    return edges


def test_a_difference_is_the_difference_of_its_tokens(run: Run, tmp_path: Path) -> None:
    done = run(
        "trace", "-p", DALLAS, "--target", "Austin", "--target", "Sacramento", "--target-difference", "Austin",
        "Sacramento", "--no-prune", "--out", "graph.json.gz", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    told = {t["token"].strip(): t["probability"] for t in done.json["targets"]}
    assert set(told) == {"Austin", "Sacramento", "Austin \u2212 Sacramento"}
    both = told["Austin"] + told["Sacramento"]
    assert told["Austin \u2212 Sacramento"] == pytest.approx(both, abs=2e-6)
    graph = read_graph(tmp_path / "graph.json.gz")
    edges = logits(graph)
    largest = max(abs(weight) for weight in edges["Austin"].values())
    for source in edges["Austin"] | edges["Sacramento"]:
        expected = edges["Austin"].get(source, 0.0) - edges["Sacramento"].get(source, 0.0)
        assert edges["Austin \u2212 Sacramento"].get(source, 0.0) == pytest.approx(expected, abs=1e-5 * largest)


def test_a_difference_survives_every_format(run: Run, tmp_path: Path) -> None:
    """Its number lies above the vocabulary, and its label is the only thing that says what it is."""
    read: dict[str, AttributionGraph] = {}
    for name in ("graph.json", "graph.json.gz", "graph.tsgraph", "graph.graphml"):
        done = run("trace", "-p", DALLAS, "--target", "Austin - Sacramento", "--out", name, "--json")
        assert done.code == 0, done.err
        read[name] = read_graph_file(tmp_path / name)
    first = read["graph.json"]
    (place,) = first.of_kind(NodeKind.LOGIT)
    assert first.labels[place].startswith('Output "Austin \u2212 Sacramento" (p=')
    for name, graph in read.items():
        assert graph.node_ids == first.node_ids, name
        assert graph.labels == first.labels, name
        assert (graph.nodes.feature == first.nodes.feature).all(), name
        assert graph.edges.weight.tolist() == first.edges.weight.tolist(), name
    document = json.loads((tmp_path / "graph.json").read_text())
    (node,) = [n for n in document["nodes"] if n["feature_type"] == "logit"]
    assert node["node_id"].split("_")[1] == str(node["feature"])
    assert 0 < node["token_prob"] <= 1


def test_a_word_that_is_no_token_is_told_before_the_work(run: Run, tmp_path: Path) -> None:
    done = run("trace", "-p", DALLAS, "--target", "Austin - Sacramentu", "--target", "Bostn", "--out", "graph.json")
    assert done.code == 2
    error = done.err.splitlines()[-1]
    for part in ("'Sacramentu' is not a token", "near: Sacramento", "'Bostn' is not a token", "Boston"):
        assert part in error
    assert "clean run" not in done.err
    assert not list(tmp_path.iterdir())


def test_a_hyphen_without_spaces_is_explained(run: Run) -> None:
    done = run("trace", "-p", DALLAS, "--target", "Austin-Dallas", "--out", "graph.json")
    assert done.code == 2
    assert "put spaces around the minus sign" in done.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--max-memory", "8"), "'8' is no amount of memory; write a number and one of B, kB"),
        (("--out", "graph.txt"), "expected a name that ends in .json"),
        (("--dtype", "float16"), "float16"),
        (("--device", "tpu"), "tpu"),
        (("--target", "Austin", "--target", "Austin"), "given twice"),
        (("--target", "Austin - Austin"), "cancels to nothing"),
    ],
)
def test_options_that_cannot_be(options: tuple[str, ...], told: str, run: Run, tmp_path: Path) -> None:
    out = () if "--out" in options else ("--out", "graph.json")
    done = run("trace", "-p", DALLAS, *out, *options)
    assert done.code in (1, 2)
    assert told in done.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_memory_that_is_too_small_is_told_before_the_work(run: Run, tmp_path: Path) -> None:
    done = run("trace", "-p", DALLAS, "--max-memory", "1MB", "--out", "graph.json")
    assert done.code == 2
    error = done.err.splitlines()[-1]
    for part in ("may take 1 MB", "raise --max-memory"):
        assert part in error
    assert "clean run" not in done.err
    assert not list(tmp_path.iterdir())
    assert run("trace", "-p", DALLAS, "--max-memory", "64GB", "--out", "graph.json").code == 0


def test_double_precision_gives_the_same_graph(run: Run, tmp_path: Path) -> None:
    for dtype in ("float32", "float64"):
        done = run("trace", "-p", DALLAS, "--dtype", dtype, "--no-prune", "--out", f"{dtype}.tsgraph")
        assert done.code == 0, done.err
    single, double = (read_graph_file(tmp_path / f"{dtype}.tsgraph") for dtype in ("float32", "float64"))
    assert single.node_ids == double.node_ids
    a, b = logits(single)["Austin"], logits(double)["Austin"]
    largest = max(abs(weight) for weight in b.values())
    for source in a | b:
        assert a.get(source, 0.0) == pytest.approx(b.get(source, 0.0), abs=1e-5 * largest)


def test_every_stage_is_shown(run: Run) -> None:
    done = run("trace", "-p", DALLAS, "--out", "graph.json")
    stages = [line.split("✓")[1].split("  ")[0].strip() for line in done.err.splitlines() if "✓" in line]
    assert stages[0] == "load"
    assert stages[-1] == "pruning"
    assert {"clean run", "sweep"} <= set(stages)


def _hear_interrupts() -> None:
    """A shell that runs tests in the background has them ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    "moment",
    [
        "tracescribe.tracer.attribution.replace_locally",
        "tracescribe.tracer.sweep.Sweep.rows",
        "tracescribe.tracer.prune.prune",
        "os.fsync",
        "os.replace",
    ],
)
def test_an_interrupt_leaves_the_old_file_and_nothing_else(
    moment: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real signal at the beginning, in the middle of the work, and in the middle of writing."""
    sent: list[str] = []

    def interrupt(*arguments: object, **named: object) -> None:
        sent.append(moment)
        signal.raise_signal(signal.SIGINT)

    (tmp_path / "graph.json").write_text("the old graph")
    before = signal.getsignal(signal.SIGINT)
    _hear_interrupts()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(moment, interrupt)
            done = run("trace", "-p", DALLAS, "--out", "graph.json")
    finally:
        signal.signal(signal.SIGINT, before)
    assert sent == [moment]
    assert done.code == 130
    assert done.err.splitlines()[-1] == "error: interrupted"
    assert done.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]
    assert (tmp_path / "graph.json").read_text() == "the old graph"


def test_ctrl_c_from_outside_ends_the_command(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tracescribe.runs", "trace", "-p", DALLAS, "--out", "new/graph.json"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - this process starts no threads
    )
    assert process.stderr is not None
    first = process.stderr.readline()  # the model is loaded; the work begins
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=300)
    assert "load" in first
    if process.returncode == 0:  # the work was quicker than the signal: then the file is whole
        assert read_graph(tmp_path / "new" / "graph.json").n_nodes > 0
        return
    assert process.returncode == 130, rest
    assert out == ""
    assert rest.splitlines()[-1] == "error: interrupted"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
