"""Lists of reports: what is searched, filtered, sorted and counted is what a plain look at all rows gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.runs.postgres_server import PostgresServer
from tracescribe.runs.benchmarks.listed_reports import put_listed_reports
from tracescribe.runs.review.listing import ReportPage, ReportQuery, ReportRow, find_reports
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.store.tables import reports

ROWS = 300


@pytest.fixture(scope="module")
def words(listed: tuple[Store, list[str]]) -> list[str]:
    return listed[1]


@pytest.fixture(scope="module")
def many(listed: tuple[Store, list[str]]) -> Store:
    return listed[0]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = open_store(parse_address(str(tmp_path_factory.mktemp("many") / "store")), create=True)
    yield store, put_listed_reports(store, ROWS)
    store.close()


def rows_of(store: Store) -> list[Any]:
    return store.read(lambda connection: list(connection.execute(sa.select(reports)).mappings()))


def every(store: Store, **query: Any) -> list[ReportRow]:
    """All pages."""
    found: list[ReportRow] = []
    page = find_reports(store, ReportQuery(**query, per_page=70))
    for number in range(1, page.pages + 1):
        found += find_reports(store, ReportQuery(**query, per_page=70, page=number)).reports
    assert len(found) == page.total
    return found


def check_against_plain_look(store: Store, words: list[str]) -> None:
    everything = rows_of(store)
    both = f"  {words[0].upper()}   {words[3]} "
    assert {one.case_id for one in every(store, q=both)} == {
        row["case_id"] for row in everything if words[0] in row["search"] and words[3] in row["search"]
    }
    filters: dict[str, tuple[Any, Any]] = {
        "model": ("embedded", lambda row: row["model"] == "embedded"),
        "agent": ("offline", lambda row: row["agent"] == "offline"),
        "status": ("accepted", lambda row: row["review_status"] == "accepted"),
        "verdict": ("refuted", lambda row: row["refuted"] > 0),
        "job": ("bench7", lambda row: row["job_id"] == "bench7"),
        "score_min": (0.4, lambda row: row["score"] is not None and row["score"] >= 0.4),
        "score_max": (0.8, lambda row: row["score"] is not None and row["score"] <= 0.8),
    }
    for name, (value, holds) in filters.items():
        assert {one.case_id for one in every(store, **{name: value})} == {
            row["case_id"] for row in everything if holds(row)
        }, name
    chosen = {name: value for name, (value, _) in filters.items() if name != "job"}
    left = [row for row in everything if all(holds(row) for name, (_, holds) in filters.items() if name != "job")]
    assert {one.case_id for one in every(store, **chosen)} == {row["case_id"] for row in left}
    facets = find_reports(store, ReportQuery(**chosen)).facets
    others = [
        row
        for row in everything
        if all(holds(row) for name, (_, holds) in filters.items() if name not in ("job", "agent"))
    ]
    assert dict(facets["agent"]) == Counter(row["agent"] for row in others), "what choosing another agent would give"
    plain = find_reports(store, ReportQuery()).facets
    assert dict(plain["verdict"])["inconclusive"] == sum(row["inconclusive"] > 0 for row in everything)
    assert dict(plain["status"]) == Counter(row["review_status"] for row in everything)


def test_lists_hold_what_was_asked_for(many: Store, words: list[str]) -> None:
    check_against_plain_look(many, words)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("sort", "column", "largest_first"),
    [
        ("newest", "finished_at", True),
        ("score", "score", True),
        ("prompt", "prompt", False),
        ("refuted", "refuted", True),
        ("probability", "probability", True),
    ],
)
def test_orders_hold_over_all_pages(many: Store, sort: Any, column: str, largest_first: bool, reverse: bool) -> None:
    found = every(many, sort=sort, reverse=reverse)
    assert len({one.case_id for one in found}) == ROWS, "no report is on two pages"
    values = [getattr(one, column) for one in found]
    there = [value for value in values if value is not None]
    assert values[len(there) :] == [None] * (len(values) - len(there)), "those without a value are last"
    assert there == sorted(there, reverse=largest_first != reverse)


def test_a_search_takes_every_character_as_it_is(many: Store) -> None:
    for text in ("%", "_", "100%", "a_b", "\\", "'", '"', "); DROP TABLE reports; --", "*", "[a-z]"):
        assert find_reports(many, ReportQuery(q=text)).total == 0, text
    assert find_reports(many, ReportQuery(q="\0")).total == ROWS
    assert find_reports(many, ReportQuery(model="'; --", agent="\0")).total == 0
    assert find_reports(many, ReportQuery()).total == ROWS


def test_pages_beyond_the_ends_are_the_nearest(many: Store) -> None:
    def asked(**query: Any) -> ReportPage:
        return find_reports(many, ReportQuery(**query))

    assert asked(page=10**9).page == 12
    assert asked(page=-5).page == 1
    assert len(asked(per_page=10**9).reports) == 100
    assert len(asked(per_page=0).reports) == 1
    empty = find_reports(many, ReportQuery(q="nobody says this", page=3))
    assert (empty.total, empty.page, empty.pages, empty.reports) == (0, 1, 1, ())


@pytest.mark.batch
def test_lists_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    address = parse_address(postgres.new_database(), artefacts=str(tmp_path / "artefacts"))
    store = open_store(address, create=True)
    words = put_listed_reports(store, ROWS)
    check_against_plain_look(store, words)
    test_a_search_takes_every_character_as_it_is(store)
    test_orders_hold_over_all_pages(store, "score", "score", True, False)
    store.close()
