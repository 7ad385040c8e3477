"""A report beside gold: what is found, missed, added, turned round and named otherwise."""

from __future__ import annotations

from tests.agents.rendering.conftest import make_report
from tracescribe.evals.gold.parts import GoldEdge
from tracescribe.evals.gold.reviewed import Corrections, gold_of_report
from tracescribe.runs.web.gold_view import gold_page


def test_a_report_beside_gold() -> None:
    report = make_report()
    edges = [GoldEdge(source=e.source, destination=e.destination, sign=1 if e.weight > 0 else -1) for e in report.edges]
    corrections = Corrections(
        labels={"s2": "the Lone Star State"},
        removed=("s6",),
        members={"s0": ("0_31_2", "1_99_2")},
        added={"say a river": ("3_70_8",)},
        edges=tuple(
            [
                edge.model_copy(update={"sign": -edge.sign}) if edge.source == "s2" else edge
                for edge in edges[1:]
                if "s6" not in (edge.source, edge.destination)
            ]
            + [GoldEdge(source="s0", destination="s5", sign=1)]
        ),
    )
    gold = gold_of_report(report, "anna", "CC0-1.0", corrections)
    shown = gold_page(report, gold, None)
    pairs = {pair.gold: pair for pair in shown.pairs}
    assert (pairs["the Lone Star State"].found, pairs["the Lone Star State"].named_right) == ("Texas", False)
    assert (pairs["say Austin"].found, pairs["say Austin"].named_right, pairs["say Austin"].overlap) == (
        "say Austin",
        True,
        "100 %",
    )
    assert (len(pairs["capital"].shared), len(pairs["capital"].only_gold), len(pairs["capital"].only_report)) == (
        1,
        1,
        1,
    )
    assert (pairs["say a river"].found, pairs["say a river"].named_right) == ("", None)
    assert [extra.label for extra in shown.extras] == ["say Houston"]
    fates = {(link.source, link.destination): link.fate for link in shown.links}
    assert fates["the Lone Star State", "say Austin"] == "wrong sign"
    assert fates["capital", "say Austin"] == "missed"
    assert fates["capital", "say a capital"] == "found"
    assert fates["“capital” (prompt)", "capital"] == "added"
    assert shown.scores == () and "graph was not kept" in shown.why_no_scores
