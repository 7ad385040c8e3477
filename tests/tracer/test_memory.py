"""Memory plans: edge counts are exact, batches follow from the limit, and what cannot fit says what would."""

from __future__ import annotations

import dataclasses
import mmap
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.machine_memory import available_memory, resident_memory
from tracescribe.tracer.memory import TraceSize, format_size, memory_limit, parse_size, plan_memory
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.sweep import EdgeRows, Sweep, Targets
from tracescribe.tracer.transcoders import TranscoderSet

Pair = tuple[LanguageModel, TranscoderSet]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A random model with random transcoders."""
    return make_pair(tmp_path_factory.mktemp("pair"), TinyShape())


def trace_size(n_layers: int = 3, n_pos: int = 5, n_active: int = 60, seed: int = 0, held: int = 0) -> TraceSize:
    rng = np.random.default_rng(seed)
    layer = np.sort(rng.integers(0, n_layers, n_active))
    return TraceSize(
        layer=layer,
        position=rng.integers(0, n_pos, n_active),
        n_layers=n_layers,
        n_pos=n_pos,
        n_logits=4,
        bytes_per_target=1000,
        held={"model": held},
    )


def reaching(size: TraceSize, layer: int, position: int) -> int:
    """Sources of one target, counted one by one."""
    features = sum(
        1
        for below, at in zip(size.layer.tolist(), size.position.tolist(), strict=True)
        if below < layer and at <= position
    )
    errors = sum(1 for n in range(size.n_layers) for p in range(size.n_pos) if n < layer and p <= position)
    return features + errors + position + 1


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6), st.integers(0, 40))
def test_edges_are_counted_exactly(seed: int, n_layers: int, n_pos: int, n_active: int) -> None:
    size = trace_size(n_layers, n_pos, n_active, seed)
    ends = [*zip(size.layer.tolist(), size.position.tolist(), strict=True), *[(n_layers, n_pos - 1)] * 4]
    expected = [reaching(size, *end) for end in ends]
    assert size.sources().tolist() == expected
    assert size.n_edges() == sum(expected)


@given(st.integers(0, 10**6), st.integers(0, 70))
def test_a_budget_counts_the_worst_choice_of_features(seed: int, budget: int) -> None:
    size = trace_size(seed=seed)
    features, logits = size.sources()[:60], size.sources()[60:]
    any_choice = np.random.default_rng(seed).permutation(60)[:budget]
    most = size.n_edges(budget)
    assert features[any_choice].sum() + logits.sum() <= most <= size.n_edges()
    assert most == sum(sorted(features.tolist())[::-1][:budget]) + logits.sum()


@given(st.integers(0, 10**6), st.integers(0, 200_000), st.integers(1, 400), st.none() | st.integers(1, 80))
def test_a_plan_that_fits_stays_below_its_limit_and_uses_it(
    seed: int, limit: int, batch_size: int, budget: int | None
) -> None:
    size = trace_size(seed=seed, held=5000)
    plan = plan_memory(size, limit, batch_size, budget)
    assert 1 <= plan.batch_size <= batch_size
    assert plan.total == 5000 + 8 * size.n_edges(budget) + 1000 * plan.batch_size
    assert plan.fits == (plan.total <= limit)
    if plan.fits:
        assert plan.require() is plan and plan.advice == ""
        if plan.batch_size < batch_size:
            assert plan.total + 1000 > limit  # one target more would not fit
    else:
        assert plan.batch_size == 1
        with pytest.raises(SettingError):
            plan.require()


@given(st.integers(0, 10**6), st.integers(0, 60_000))
def test_the_budget_that_is_advised_fits_and_is_the_largest(seed: int, limit: int) -> None:
    size = trace_size(seed=seed, held=5000)
    plan = plan_memory(size, limit, 64)
    if plan.fits:
        return
    advised = plan.fitting_budget
    assert advised is not None and advised < 60
    assert not plan_memory(size, limit, 64, advised + 1).fits
    if advised:
        assert plan_memory(size, limit, 64, advised).fits
        assert f"--max-feature-nodes {advised} fits" in plan.advice
    else:
        assert "--max-feature-nodes" not in plan.advice


def test_the_message_names_parts_limit_and_what_would_fit() -> None:
    size = dataclasses.replace(trace_size(n_active=5000, n_pos=50), held={"model and transcoders": 30_000_000})
    with pytest.raises(SettingError) as caught:
        plan_memory(size, 40_000_000, 64).require()
    told = str(caught.value)
    edges = format_size(8 * size.n_edges())
    for part in (
        "model and transcoders 30 MB",
        f"edges {edges}",
        "sweep 1 kB",
        "may take 40 MB",
        "--max-feature-nodes",
    ):
        assert part in told
    assert "\n" not in told


def test_a_trace_without_active_features_has_its_outputs() -> None:
    size = trace_size(n_active=0)
    assert size.n_edges() == 4 * (4 * 5)
    assert plan_memory(size, 10**6, 8).fits


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("8GB", 8 * 10**9), ("512MiB", 512 << 20), ("1.5 gb", 1_500_000_000), ("100B", 100), (" 2TiB ", 2 << 40),
        ("3kB", 3000), ("3KiB", 3072), ("0.5GiB", 1 << 29),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, n_bytes: int) -> None:
    assert parse_size(text) == memory_limit(text) == n_bytes


@pytest.mark.parametrize(
    "text", ["", "8", "GB", "-8GB", "8 apples", "1e9B", "nan GB", "0GB", "8GBB", "8G B", "9" * 30 + "GB"]
)
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(SettingError, match="is no amount of memory; write a number and one of B, kB, MB"):
        parse_size(text)


def test_sizes_are_shown_in_three_digits() -> None:
    shown = [format_size(n) for n in (0, 999, 1000, 1234, 999_600, 1.9e9, 2.5e12)]
    assert shown == ["0 B", "999 B", "1 kB", "1.23 kB", "1 MB", "1.9 GB", "2.5 TB"]


def machine(folder: Path, available_kib: int, group: str = "0::/\n") -> tuple[Path, Path]:
    """A made-up `/proc` and an empty `/sys/fs/cgroup`."""
    proc, cgroup = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_kib} kB\n")
    (proc / "self" / "cgroup").write_text(group)
    return proc, cgroup


def test_free_memory_is_what_the_kernel_calls_available(tmp_path: Path) -> None:
    assert available_memory(*machine(tmp_path, 5000)) == 5000 * 1024


def test_a_control_groups_limit_counts_and_so_does_its_parents(tmp_path: Path) -> None:
    proc, cgroup = machine(tmp_path, 10**9, "0::/jobs/mine\n")
    mine = cgroup / "jobs" / "mine"
    mine.mkdir(parents=True)
    (mine / "memory.max").write_text("max\n")
    (cgroup / "jobs" / "memory.max").write_text("9000000\n")
    (cgroup / "jobs" / "memory.current").write_text("4000000\n")
    (cgroup / "jobs" / "memory.stat").write_text("anon 3\ninactive_file 1500000\nfile 2\n")
    assert available_memory(proc, cgroup) == 9_000_000 - (4_000_000 - 1_500_000)
    (mine / "memory.max").write_text("2000000\n")
    (mine / "memory.current").write_text("1900000\n")
    assert available_memory(proc, cgroup) == 100_000
    (mine / "memory.current").write_text("2100000\n")
    assert available_memory(proc, cgroup) == 0


def test_control_groups_of_version_one(tmp_path: Path) -> None:
    proc, cgroup = machine(tmp_path, 10**9, "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    (cgroup / "memory").mkdir()
    (cgroup / "memory" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    assert available_memory(proc, cgroup) == 10**9 * 1024
    (cgroup / "memory" / "memory.limit_in_bytes").write_text("7000")
    (cgroup / "memory" / "memory.usage_in_bytes").write_text("3000")
    assert available_memory(proc, cgroup) == 4000


def test_without_the_kernels_files_the_system_is_asked(tmp_path: Path) -> None:
    assert available_memory(tmp_path, tmp_path) > 0
    assert resident_memory(tmp_path) > 10_000_000


def test_this_process_holds_more_after_taking_memory() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 128_000_000) as block:  # from the kernel: an allocator may hand out what the process held before
        block.write(bytes(128_000_000))
        assert resident_memory() - before > 100_000_000


def test_the_default_limit_leaves_a_part_of_the_free_memory() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    limit, held, free = memory_limit(None), resident_memory(), available_memory()
    assert held + 0.5 * free < limit < held + 0.95 * free + 1000 * page


def traced(monkeypatch: pytest.MonkeyPatch, pair: Pair, **settings: Any) -> tuple[AttributionGraph, list[int]]:
    """A graph, traced by a process that seems to hold nothing, and the sizes of the blocks that it took."""
    sizes: list[int] = []
    rows = Sweep.rows

    def recorded(self: Sweep, targets: Targets, batch_size: int) -> Iterator[EdgeRows]:
        sizes.append(batch_size)
        return rows(self, targets, batch_size)

    with monkeypatch.context() as patched:
        for module in ("memory", "expansion"):
            patched.setattr(f"tracescribe.tracer.{module}.resident_memory", lambda: 0)
        patched.setattr(Sweep, "rows", recorded)
        return attribute_tokens(*pair, random_tokens(9, TinyShape()), AttributionSettings(**settings)), sizes


def test_less_memory_means_smaller_blocks_and_the_same_graph(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    whole, blocks = traced(monkeypatch, pair, max_memory=10**9)
    assert min(blocks) == AttributionSettings().batch_size
    least = _least(monkeypatch, pair)
    tight, blocks = traced(monkeypatch, pair, max_memory=least)
    assert max(blocks) <= 2
    assert tight.node_ids == whole.node_ids
    assert np.abs(tight.dense() - whole.dense()).max() <= 2e-5 * np.abs(whole.dense()).max()
    with pytest.raises(SettingError, match=r"the trace needs .* edges .* sweep .*; trace fewer features") as caught:
        traced(monkeypatch, pair, max_memory=least - 1)
    advised = re.search(r"--max-feature-nodes (\d+) fits", str(caught.value))
    assert advised is not None
    budget = int(advised[1])
    graph, _ = traced(monkeypatch, pair, max_memory=least - 1, max_feature_nodes=budget)
    assert len(graph.of_kind(NodeKind.FEATURE)) == budget


def test_memory_changes_no_budgeted_graph(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    """With a node budget the features between two estimates of influence are part of the result; blocks are not."""
    settings = {"max_feature_nodes": 40, "batch_size": 16, "update_interval": 1}
    whole, _ = traced(monkeypatch, pair, max_memory=10**9, **settings)
    least = _least(monkeypatch, pair, **settings)
    tight, blocks = traced(monkeypatch, pair, max_memory=least, **settings)
    assert max(blocks) < 16
    assert tight.node_ids == whole.node_ids


def test_a_trace_that_cannot_fit_is_refused_before_the_sweep(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("the sweep began")

    monkeypatch.setattr(Sweep, "rows", never)
    monkeypatch.setattr("tracescribe.tracer.expansion.resident_memory", lambda: 10**12)
    with pytest.raises(SettingError, match=r"the trace needs 1 TB of memory \(in use 1 TB.*raise --max-memory to 1.05"):
        attribute_tokens(*pair, random_tokens(9, TinyShape()), AttributionSettings(max_memory=10**11))


CHILD = r"""
    import re, sys
    from pathlib import Path
    from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
    from tracescribe.tracer.errors import SettingError
    from tracescribe.tracer.machine_memory import resident_memory
    from tracescribe.tracer.memory import parse_size
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.synthetic import SyntheticShape, random_tokens, write_synthetic
    from tracescribe.tracer.transcoders import load_transcoders

    shape = SyntheticShape(kind="plt", n_layers=6, d_model=64, n_features=500, n_active=50)
    pair = write_synthetic(Path(sys.argv[1]), shape)
    opened = load_model(pair.model), load_transcoders(pair.transcoders)
    tokens = random_tokens(20, shape)
    before = resident_memory()
    try:
        attribute_tokens(*opened, tokens, AttributionSettings(max_memory=before + 20_000_000))
    except SettingError as error:
        limit = parse_size(re.search(r"raise --max-memory to (.*?) or more", str(error))[1])
    graph = attribute_tokens(*opened, tokens, AttributionSettings(max_memory=limit))
    status = Path("/proc/self/status").read_text()  # of this process alone: getrusage counts its parent's peak too
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    print(len(graph.edges), before, limit, peak)
"""


def test_the_process_stays_below_the_limit_that_it_was_given(tmp_path: Path) -> None:
    """As the kernel counts it: a first limit is refused, and the one that the refusal advises is kept."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    n_edges, before, limit, peak = (int(number) for number in done.stdout.split())
    assert 4 * n_edges > 20_000_000  # edges are what the memory goes to
    assert before + 4 * n_edges < limit
    assert peak <= limit


def _least(monkeypatch: pytest.MonkeyPatch, pair: Pair, **settings: Any) -> int:
    """The fewest bytes with which a trace is not refused."""
    refused, enough = 0, 10**9
    while enough - refused > 1:
        middle = (refused + enough) // 2
        try:
            traced(monkeypatch, pair, max_memory=max(1, middle), **settings)
            enough = middle
        except SettingError:
            refused = middle
    return enough
