"""Benchmarks: what they count is right, what they print fits together; how fast anything is, is not tested."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from tracescribe.runs.benchmarks.arithmetic import SweepShape, executed_flops, sweep_flops
from tracescribe.runs.benchmarks.calls import load_prototype
from tracescribe.runs.benchmarks.drawing import Curve, Panel, chart_svg
from tracescribe.runs.benchmarks.measuring import Peak, Timing, growth_exponent, measure_peak, time_alternating
from tracescribe.runs.benchmarks.memory import MemoryJob, measure_memory
from tracescribe.runs.benchmarks.tracing import TracerBenchSettings
from tracescribe.tracer.errors import InputError, SettingError, WorkError

Run = Callable[..., Any]

REFERENCE = '''
"""Stands in for a reference implementation: it does nothing, but has the names."""
import helper_of_the_reference


class Transcoder:
    def __init__(self, folder):
        self.folder = folder


def attribute(hf, tokens, transcoder, max_feature_nodes=None, zero_positions=1):
    return helper_of_the_reference.answer(tokens)


def scores(graph):
    return 0.5, 0.5


def prune(graph):
    return graph
'''


@pytest.fixture(autouse=True)
def small_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's peak from small matrices: a figure all the same, at no cost."""
    monkeypatch.setattr("tracescribe.runs.benchmarks.tracing.measure_peak", lambda: measure_peak(size=64, repeats=2))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A reference in a file, with a second file that it imports."""
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "helper_of_the_reference.py").write_text("def answer(tokens):\n    return tokens.tolist()\n")
    (folder / "reference.py").write_text(REFERENCE)
    return folder / "reference.py"


@pytest.mark.parametrize("writes_above", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_the_count_of_a_sweep_equals_a_count_target_by_target(writes_above: bool, wide: bool, plain: bool) -> None:
    rng = np.random.default_rng(0)
    n_heads, d_head, n_kv = (4, 3, 2) if wide else (1, 2, 1)
    shape = SweepShape(
        d_model=7,
        n_heads=n_heads,
        d_heads=n_heads * d_head,
        d_kv=n_kv * d_head,
        n_layers=3,
        n_pos=5,
        zero_positions=1,
        writes_above=writes_above,
        skips=(False, True, False),
    )
    features = np.array(
        sorted((int(a), int(b)) for a, b in zip(rng.integers(0, 3, 20), rng.integers(1, 5, 20), strict=True))
    )
    d, h, k = shape.d_model, shape.d_heads, shape.d_kv
    expected = 0
    for layer, position in [*features.tolist(), *[(3, 4)] * 2]:
        n = position + 1
        pairs = sum(1 for query in range(n) for key in range(query + 1) if key <= query)
        if layer == 0:
            expected += d * h + h * n + n * (d + k) if plain else d * n
            continue
        joining = [h * n + k * n * d, h * d + n_heads * n * d]
        tokens = [n * d * h + h * pairs + n * (d + k), d * pairs]
        expected += d * h + (joining[0] if plain else min(joining))
        expected += tokens[0] if plain else min(tokens)
        for below in range(layer):
            reads = range(below + 1) if writes_above else (below,)
            written = sum(1 for a, b in features.tolist() if a in reads and b <= position)
            written += sum(1 for p in range(n) if p >= 1)  # errors
            expected += d * written
            expected += n * d * d if shape.skips[below] else 0
            if below:
                expected += n * d * h + h * pairs + k * n * d
    assert sweep_flops(shape, features, n_logits=2, plain=plain) == 2 * expected


def test_products_in_place_are_counted_as_executed() -> None:
    a, b = torch.ones(2, 3), torch.ones(3, 5)

    def call() -> str:
        torch.zeros(2, 5).addmm_(a, b)
        _ = a @ b
        torch.zeros(4, 2, 5).baddbmm_(a.expand(4, -1, -1), b.expand(4, -1, -1))
        _ = a @ b[:, 0]
        return "done"

    assert executed_flops(call) == (2 * (30 + 30 + 120 + 6), "done")


def test_settings_that_cannot_be_are_told_together() -> None:
    with pytest.raises(SettingError, match="kinds is empty; repeats is below 1"):
        TracerBenchSettings(kinds=(), repeats=0)


def test_calls_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []
    told: list[tuple[int, int]] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    timings = time_alternating(calls, 2, lambda done, total: told.append((done, total)))
    assert order == ["a", "b"] * 3
    assert told == [(n, 6) for n in range(1, 7)]
    assert all(len(timing.wall) == len(timing.cpu) == 2 for timing in timings.values())


def test_medians_growth_and_peak() -> None:
    assert Timing((3.0, 1.0, 2.0), (9.0, 7.0, 8.0)).median("cpu") == 8.0
    sizes = [10.0, 30.0, 200.0]
    assert growth_exponent(sizes, [0.1 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth_exponent([10.0, 10.0], [1.0, 2.0]) is None
    assert Peak(1.0, 4.0).best(Peak(2.0, 3.0)) == Peak(2.0, 4.0)
    measured = measure_peak(size=64, repeats=2)
    assert measured.wall > 0 and measured.cpu > 0


def test_a_measurement_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(WorkError, match="measurement of 'trace' ended with code 1: no message"):
        measure_memory(MemoryJob("trace", "model", "transcoders", (0, 3)))


def test_a_reference_may_import_its_neighbours_and_must_have_its_names(reference: Path, tmp_path: Path) -> None:
    module: Any = load_prototype(reference)
    assert module.attribute(None, torch.tensor([1, 2]), None) == [1, 2]
    with pytest.raises(InputError, match="no reference implementation at"):
        load_prototype(tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("attribute = 1\n")
    with pytest.raises(InputError, match="has no Transcoder, prune, scores"):
        load_prototype(tmp_path / "empty.py")
    (tmp_path / "broken.py").write_text("raise RuntimeError('on purpose')\n")
    with pytest.raises(InputError, match="RuntimeError: on purpose"):
        load_prototype(tmp_path / "broken.py")


def test_bench_tracer_tells_figures_that_fit_together(run: Run, reference: Path) -> None:
    options = ["--lengths", "5,12", "--features", "60", "--active", "3", "--layers", "2", "--width", "32"]
    files = ["--save", "bench.json", "--plot", "bench.svg"]
    done = run("bench", "tracer", *options, "--repeats", "1", "--no-memory", "--prototype", reference, *files, "--json")
    assert done.code == 0, done.err
    told = done.json
    assert json.loads(Path("bench.json").read_text()) == told
    assert [(case["kind"], case["n_pos"]) for case in told["cases"]] == [
        ("clt", 5),
        ("clt", 12),
        ("plt", 5),
        ("plt", 12),
    ]
    assert told["clock"] == "cpu"
    for case in told["cases"]:
        seconds = {name: timing["cpu_seconds"] for name, timing in case["timings"].items()}
        assert set(seconds) == {"trace", "trace and prune", "reference trace", "reference trace and prune"}
        assert case["n_nodes"] > case["n_active"] > 0
        assert case["n_nodes"] < case["n_edges"] < case["n_nodes"] ** 2
        rate = case["useful_flops"] / seconds["trace"]
        assert case["share_of_peak"] == pytest.approx(rate / told["peak_flops_per_second"]["cpu"])
        assert case["ratio_trace"] == pytest.approx(seconds["reference trace"] / seconds["trace"])
        assert case["executed_flops"] > 0
        assert case["memory_ratio_trace"] is None
    assert {(row["kind"], row["n_features"]) for row in told["growth"]} == {("clt", 60), ("plt", 60)}
    ElementTree.parse("bench.svg")


def test_bench_tracer_shows_a_table_and_leaves_the_reference_out_where_its_matrix_is_too_large(
    run: Run, reference: Path
) -> None:
    options = ["--lengths", "5", "--features", "60", "--active", "3", "--layers", "2", "--width", "32"]
    done = run(
        "bench",
        "tracer",
        "--kind",
        "plt",
        *options,
        "--repeats",
        "1",
        "--no-memory",
        "--prototype",
        reference,
        "--reference-nodes",
        "10",
    )
    assert done.code == 0, done.err
    assert "plt 60" in done.out
    assert "reference" not in done.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kind", "lorsa"], "kind 'lorsa' is neither clt nor plt"),
        (["--lengths", "3,12"], "a length of 3 tokens is too short"),
        (["--lengths", "eleven"], "'eleven' is no list of numbers"),
        (["--family", "bert"], "family is 'bert'"),
    ],
)
def test_wrong_calls_of_bench_tracer(options: list[str], told: str, run: Run) -> None:
    done = run("bench", "tracer", "--no-memory", *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_bench_prune_counts_what_is_kept(run: Run) -> None:
    done = run("bench", "prune", "--nodes", "700", "--repeats", "1", "--json")
    assert done.code == 0, done.err
    (row,) = done.json["rows"]
    assert row["nodes"] > row["kept_nodes"] > 0
    assert row["edges"] > row["kept_edges"] > 0
    assert row["ratio"] is None


def test_bench_interventions_agrees_with_whole_forward_passes(run: Run) -> None:
    done = run("bench", "interventions", "--rows", "5", "--repeats", "1", "--json")
    assert done.code == 0, done.err
    rows = {row["way"]: row for row in done.json["rows"]}
    assert rows["batched"]["ratio"] == 1
    assert all(row["largest_difference"] < 1e-3 for row in rows.values())  # logits of size 10, in float32
    assert 1 <= done.json["settings"]["ablations"] <= 5


def test_bench_evidence_counts_tokens_and_survives_a_kill(run: Run) -> None:
    done = run("bench", "evidence", "--sentences", "60", "--repeats", "1", "--json")
    assert done.code == 0, done.err
    (row,) = done.json["rows"]
    assert row["tokens"] > row["sentences"] == 60
    assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["scan_seconds"])
    assert row["writing_seconds"] > 0 and row["in_memory_seconds"] > 0 and row["file_bytes"] > 1000
    for kind in ("cold", "warm"):
        assert 0 < row[f"{kind}_p50_ms"] <= row[f"{kind}_p99_ms"]
    assert row["same_after_kill"] is True


def test_bench_long_keeps_to_its_budget(run: Run) -> None:
    options = ["--tokens", "40", "--budget", "30", "--layers", "2", "--width", "32"]
    done = run("bench", "long", *options, "--limit", "0.001", "--json")
    assert done.code == 0, done.err
    (row,) = done.json["rows"]
    assert row["active"] > row["budget"] == 30
    assert 30 < row["nodes"] <= 30 + 3 * 40 + 10  # features, errors of two layers, tokens, logits
    assert row["process_bytes"] - row["additional_bytes"] > 50e6, "an interpreter with torch is larger than this"
    assert row["additional_bytes"] >= 4 * 40 * 40, "one attention pattern alone is larger"
    assert row["within_limit"] is False


def test_a_chart_is_well_formed_whatever_its_names() -> None:
    curve = Curve('<script> & "', ((11.0, 0.1), (255.0, 40.0)))
    svg = chart_svg(
        [Panel("a < b", "tokens", "s", (curve,)), Panel("one point", "x", "y", (Curve("c", ((1.0, 2.0),)),))]
    )
    root = ElementTree.fromstring(svg)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert '<script> & "' in texts
    assert {"11", "255", "1", "10"} <= set(texts)
