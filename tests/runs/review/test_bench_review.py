"""`tracescribe bench review` measures a real server, and tells which limits are missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runs.conftest import Done
from tracescribe.runs.benchmarks.figures import Figure
from tracescribe.runs.benchmarks.limits import Limit, missed_limits


@pytest.mark.batch
def test_lists_and_acts_are_measured_at_a_real_server(run: Callable[..., Done]) -> None:
    told = run("bench", "review", "--reports", "40", "--acts", "10", "--repeats", "1", "--no-limits", "--json").json
    rows = {row["measured"]: row for row in told["rows"]}
    assert {row["requests"] for name, row in rows.items() if "each order" in name} == {5}
    assert rows["an act saved, the last tenth of 10"]["requests"] == 1
    assert all(row["median_ms"] > 0 for row in rows.values())


@pytest.mark.batch
def test_a_limit_that_is_missed_is_told_and_fails(run: Callable[..., Done]) -> None:
    asked = ("bench", "review", "--reports", "40", "--acts", "5", "--repeats", "1", "--page-ms", "0")
    done = run(*asked, "--json")
    assert done.code == 1
    pages = [row["measured"] for row in done.json["rows"] if row["measured"].startswith("40 reports")]
    assert len(pages) == len(done.json["missed"]) == 12, "every page, and no act: acts have no limit"
    lines = [line for line in done.err.splitlines() if line.startswith("missed: ")]
    assert [line.partition(": p95_ms is ")[0] for line in lines] == [f"missed: {page}" for page in pages]
    assert all(line.endswith("not below 0 ms") for line in lines)
    done = run(*asked, "--no-limits")
    assert (done.code, "missed" in done.err) == (0, False)


def test_a_limit_is_missed_at_the_bound_or_beyond_it_and_by_what_is_no_number() -> None:
    below, least = Limit("value", "ms", below=2000), Limit("value", "frames per second", least=30)
    rows: list[tuple[dict[str, Figure], Limit | None]] = [
        ({"what": "paint", "value": 1999.9}, below),
        ({"what": "late paint", "value": 2000.0}, below),
        ({"what": "drag", "value": 30.0}, least),
        ({"what": "slow drag", "value": 29.9}, least),
        ({"what": "nothing measured", "value": float("nan")}, least),
        ({"what": "edges drawn", "value": 0.0}, None),
        ({"what": "not asked", "value": None}, below),
    ]
    assert missed_limits(rows, "what") == (
        "late paint: value is 2000, not below 2000 ms",
        "slow drag: value is 29.9, not at least 30 frames per second",
        "nothing measured: value is nan, not at least 30 frames per second",
    )
