"""Two jobs compared: paired by case, told apart only where it can be told, in the right direction."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.job_results.stored_jobs import HOSTILE, CaseSpec, add_job
from tests.runs.job_results.test_summary import Tags
from tracescribe.runs import cli
from tracescribe.runs.job_results.comparing import compare_jobs, fewest_pairs
from tracescribe.runs.job_results.comparison import Comparison, MetricDifference
from tracescribe.runs.job_results.comparison_views import (
    comparison_lines,
    comparison_markdown,
    comparison_page,
)
from tracescribe.runs.job_results.report_differences import claim_outcomes, group_likeness, jaccard
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import audit_entries
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.statistics import paired_bootstrap


def metric(comparison: Comparison, name: str) -> MetricDifference:
    """One of its metrics."""
    return next(one for one in comparison.metrics if one.name == name)


def scored(values: Sequence[float], name: str = "overall", **more: Any) -> list[CaseSpec]:
    """A case for each value."""
    return [CaseSpec(f"prompt {i}", scores={name: value}, **more) for i, value in enumerate(values)]


def test_differences_are_those_of_the_pairs(any_store: Store) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random(40), rng.random(40)
    add_job(any_store, "aaaa", scored(first.tolist()))
    add_job(any_store, "bbbb", list(reversed(scored(second.tolist()))))
    found = metric(compare_jobs(any_store, "aaaa", "bbbb"), "overall")
    expected = paired_bootstrap(second, first, np.random.default_rng(0))
    assert found.difference.value == pytest.approx(expected.mean) and found.difference.n == 40
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.03)
    assert (found.wins, found.losses, found.ties) == ((second > first).sum(), (second < first).sum(), 0)
    back = metric(compare_jobs(any_store, "bbbb", "aaaa"), "overall")
    assert back.difference.value == pytest.approx(-found.difference.value) and back.wins == found.losses


@pytest.mark.parametrize(("name", "says"), [("overall", "better"), ("causal.false_discoveries", "worse")])
def test_more_is_better_only_where_it_is(store: Store, name: str, says: str) -> None:
    specification = {"scoring": {"metrics": [name]}}
    rng = random.Random(1)
    low = [rng.random() / 3 for _ in range(20)]
    add_job(store, "aaaa", scored(low, name), specification=specification)
    add_job(store, "bbbb", scored([value + 0.4 for value in low], name), specification=specification)
    found = metric(compare_jobs(store, "aaaa", "bbbb"), name)
    assert found.says == says and (found.wins, found.losses)[says == "worse"] == 20
    assert metric(compare_jobs(store, "bbbb", "aaaa"), name).says == {"better": "worse", "worse": "better"}[says]


def test_few_prompts_tell_nothing_however_far_apart_they_are(store: Store) -> None:
    for n in (1, fewest_pairs(1) - 1, fewest_pairs(1)):
        add_job(store, f"a{n}", scored([0.0] * n))
        add_job(store, f"b{n}", scored([1.0] * n))
        found = compare_jobs(store, f"a{n}", f"b{n}")
        told = " ".join(comparison_lines(found))
        if n < fewest_pairs(1):
            assert metric(found, "overall").says == "too few"
            assert f"too few prompts to tell the jobs apart in overall ({n}): it takes 6 or more" in told
        else:
            assert metric(found, "overall").says == "better" and "the second is better in overall: +1.000" in told


def test_seeds_of_one_prompt_are_no_further_prompts(store: Store) -> None:
    for job, value in (("aaaa", 0.0), ("bbbb", 1.0)):
        specs = [CaseSpec(f"{i % 3}", seed=i // 3, scores={"overall": value}) for i in range(30)]
        add_job(store, job, specs)
    found = metric(compare_jobs(store, "aaaa", "bbbb"), "overall")
    assert found.difference.n == 3 and found.wins == 30 and found.says == "too few"


def test_alike_jobs_are_hardly_ever_told_apart() -> None:
    """By the rule itself, over many drawn jobs: both the test and its correction must hold."""
    from tracescribe.runs.job_results.comparing import _p_value

    rng = np.random.default_rng(7)
    p_values = [_p_value(*rng.random((2, 12))) for _ in range(300)]
    assert np.mean([p is not None and p < 0.05 for p in p_values]) < 0.09
    many = rng.random((2, 6000))
    large = _p_value(many[0], many[1])
    assert large is not None and large > 0.01 and _p_value(many[0], many[1] + 0.05) == pytest.approx(0.0, abs=1e-9)
    assert _p_value(many[0], many[0]) == 1.0 and _p_value(many[0][:1], many[1][:1]) is None


def test_what_one_alone_has_or_finished_is_told_and_left_out(store: Store) -> None:
    specs = scored([0.5] * 10)
    other = [
        *scored([0.75] * 7),
        CaseSpec("prompt 7", "failed", failure=("timeout", "x")),
        CaseSpec("prompt 8", "waiting"),
        CaseSpec("only here", scores={"overall": 1.0}),
    ]
    add_job(store, "aaaa", specs, model_sha256="a" * 64)
    add_job(store, "bbbb", other, status="running", model_sha256="b" * 64, agent="influence")
    found = compare_jobs(store, "aaaa", "bbbb")
    assert (found.n_pairs, found.only_first, found.only_second, found.finished_by_one) == (7, 1, 1, (2, 0))
    assert [(case.first, case.second) for case in found.unfinished] == [("done", "failed"), ("done", "waiting")]
    told = " ".join(comparison_lines(found))
    for words in (
        "other weights of model",
        "1 cases are in the first job alone",
        "job bbbb is running",
        "only the first",
    ):
        assert words in told, words
    with pytest.raises(InputError, match="compared with itself"):
        compare_jobs(store, "aaaa", "aaaa")
    add_job(store, "cccc", [CaseSpec("nothing shared")])
    assert "nothing to compare" in " ".join(comparison_lines(compare_jobs(store, "aaaa", "cccc")))


# -- reports -----------------------------------------------------------------------------------------------------------


def feature(number: int) -> dict[str, int]:
    """A member of a supernode."""
    return {"layer": 0, "position": 1, "feature": number}


def report(groups: dict[str, tuple[int, ...]], outcomes: dict[str, str], said: str = "") -> dict[str, Any]:
    """What is read of a report: a necessity claim for each group."""
    names = list(groups)
    return {
        "supernodes": [
            {"supernode_id": name, "members": [feature(n) for n in members], "rejected": False}
            for name, members in groups.items()
        ],
        "labels": [{"layer": 0, "feature": n, "text": f"label  {n}"} for members in groups.values() for n in members],
        "claims": [
            {"claim_id": f"c{i}", "statement": f"{name} matters{said}", "kind": "necessity", "supernode": name}
            | {"target_token": "s1"}
            for i, name in enumerate(names)
        ],
        "verdicts": [{"claim_id": f"c{i}", "outcome": outcomes[name]} for i, name in enumerate(names)],
    }


def stored(document: dict[str, Any]) -> tuple[Artefact, ...]:
    """As an artefact of a case."""
    return (Artefact("report.json", "report", json.dumps(document).encode()),)


def test_claims_are_the_same_when_their_features_are_whatever_they_are_called() -> None:
    one = claim_outcomes(report({"s1": (1, 2), "s2": (3,)}, {"s1": "supported", "s2": "refuted"}))
    other = claim_outcomes(report({"s1": (3,), "s2": (2, 1)}, {"s1": "supported", "s2": "refuted"}, " much"))
    assert one.keys() == other.keys() and len(one) == 2
    assert sorted(one[key][0] == other[key][0] for key in one) == [False, False]
    third = claim_outcomes(report({"s1": (1, 2, 3)}, {"s1": "supported"}))
    assert not third.keys() & one.keys()


def test_reports_are_compared_by_features_groups_labels_and_verdicts(store: Store) -> None:
    first = report({"s1": (1, 2), "s2": (3,)}, {"s1": "supported", "s2": "supported"}, HOSTILE)
    second = report({"s1": (3,), "s2": (1, 2), "s3": (9,)}, {"s1": "refuted", "s2": "supported", "s3": "untested"})
    add_job(store, "aaaa", [CaseSpec("p", artefacts=stored(first)), CaseSpec("q")])
    add_job(store, "bbbb", [CaseSpec("p", artefacts=stored(second)), CaseSpec("q")])
    found = compare_jobs(store, "aaaa", "bbbb").reports
    assert found is not None and (found.n_read, found.n_pairs, found.n_flipped) == (1, 2, 1)
    assert found.features is not None and found.features.value == pytest.approx(3 / 4)
    assert found.groups is not None and found.groups.value == pytest.approx(4 / 5)
    assert found.labels is not None and found.labels.value == pytest.approx(3 / 4)
    assert found.verdicts == (("supported", "refuted", 1), ("supported", "supported", 1))
    assert found.flipped[0][1].startswith("supported → refuted: s2 matters")
    query = sa.select(audit_entries.c.subject).where(audit_entries.c.act == "report opened")
    opened = store.read(lambda connection: sorted(connection.execute(query).scalars()))
    assert opened == ["aaaa.0", "aaaa.1", "bbbb.0", "bbbb.1"]
    assert compare_jobs(store, "aaaa", "bbbb", read_reports=False).reports is None
    assert store.read(lambda connection: len(connection.execute(query).all())) == 4, "scores alone open no report"


SETS = st.lists(st.frozensets(st.integers(0, 6), min_size=1), max_size=5)


@given(SETS, SETS)
def test_likeness_is_a_share_the_same_both_ways_and_1_only_for_the_same(
    one: list[frozenset[int]], other: list[frozenset[int]]
) -> None:
    found = group_likeness(one, other)
    assert found == group_likeness(other, one) if found is None else found == pytest.approx(group_likeness(other, one))
    if found is None:
        assert not one and not other
    else:
        assert 0 <= found <= 1 and (found == 1) == (set(one) == set(other))
    assert jaccard(frozenset(), frozenset()) is None


# -- forms -------------------------------------------------------------------------------------------------------------


def test_every_form_of_a_hostile_comparison_is_inert_and_complete(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = HOSTILE[:200]
    for job, shift, agent in (("aaaa", 0.0, name), ("bbbb", 0.4, "influence")):
        specs = [
            CaseSpec(f"{i}{HOSTILE}", title=name, scores={"overall": i / 20 + shift}, verdicts={HOSTILE: 1}, usd=0.5)
            for i in range(10)
        ]
        failed = CaseSpec("x", "failed" if shift else "done", title=name, failure=("error", HOSTILE) if shift else None)
        add_job(store, job, [*specs, failed], name=name, agent=agent, specification={"name": HOSTILE + job})
    assert store.address.database_file is not None
    place = ["--store", str(store.address.database_file.parent)]
    assert cli.main(["jobs", "diff", "aaaa", "bbbb", "--out", str(tmp_path / "out"), *place]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "the second is better in overall: +0.400" in shown
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "comparison.html", "comparison.json", "comparison.md", "export.json",
    ]  # fmt: skip
    found = compare_jobs(store, "aaaa", "bbbb")
    page, text = comparison_page(found), comparison_markdown(found)
    assert (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8") == page
    tags = Tags(page).tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "img", "iframe", "link", "a", "form"})
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on") or a in ("style", "src", "href")]
    for form in (page, text):
        assert "\x1b" not in form and "<img" not in form and "\u202e" not in form
    for words in ("better", "Verdicts", "Finished by one alone", "What differs", "Largest differences in overall"):
        assert words in page and words in text, words
    assert cli.main(["jobs", "diff", "aaaa", "bbbb", "--no-reports", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["n_pairs"] == 10
    assert cli.main(["jobs", "diff", "aaaa", "nope", *place]) == 2
