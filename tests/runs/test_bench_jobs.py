"""The benchmark of batch jobs measures real jobs, and only in a store that nobody uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracescribe.runs.benchmarks.idle_cases import put_idle_job
from tracescribe.runs.benchmarks.scheduling import SchedulingBenchSettings, bench_scheduling
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.tracer.errors import InputError


@pytest.fixture(autouse=True)
def own_audit_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys and anchors of the audit log stay in the test's folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.batch
def test_every_part_tells_its_figures(tmp_path: Path) -> None:
    settings = SchedulingBenchSettings(cases=6, sleeping=2, stored=20, repeats=1, store=str(tmp_path / "store"))
    told = bench_scheduling(settings)
    assert [(row["measured"], row["cases"]) for row in told.rows] == [
        ("cases that do nothing", 6),
        ("1-second cases", 2),
        ("jobs list", 20),
        ("jobs show", 20),
    ]
    nothing, sleeping = told.rows[0], told.rows[1]
    wall, share = sleeping["wall_seconds"], sleeping["own_percent"]
    assert isinstance(wall, float) and isinstance(share, float)
    assert wall > 1.0  # two workers slept a second each
    assert share == pytest.approx(100 * (wall - 1.0) / wall)
    assert nothing["own_percent"] == 100.0


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = open_store(parse_address(str(tmp_path)), create=True)
    put_idle_job(store, "job", 1)
    store.close()
    with pytest.raises(InputError, match="holds jobs"):
        bench_scheduling(SchedulingBenchSettings(store=str(tmp_path)))
