"""The one-shot agent: one question in all, nothing looked up, nothing revised; its claims are tested like anybody's."""

from __future__ import annotations

import pytest

from tests.agents.fake_server import Question, Reply, good, serving
from tests.agents.fake_thinker import data_of, outside_fences, think
from tests.agents.styles import interpret, timeless, told
from tracescribe.agents.budget import Budget
from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import SwapClaim
from tracescribe.agents.providers.completion import Completion
from tracescribe.agents.report import validate_report
from tracescribe.agents.toolbox import Toolbox

NOTHING_TESTED = Budget(experiments=0)


def test_one_question_gives_a_tested_report(embedded_toolbox: Toolbox) -> None:
    log = MemoryCallLog()
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "one-shot", call_log=log)
        assert server.calls == 1 == report.cost.llm_calls
        again = interpret(server, embedded_toolbox, "one-shot", call_log=log)
        assert server.calls == 1, "the recorded answer serves the second run"
    validate_report(report)
    assert timeless(again) == timeless(report)
    assert report.verdict_counts()["supported"] > 0
    assert report.provenance.agent == "llm-one-shot:fake-1"
    assert set(report.provenance.prompt_versions) == {"interpret_at_once", "repair_answer"}
    assert {label.proposed_by for label in report.labels} == {"fake-1 by interpret_at_once@1.0.0"}
    assert not any(label.evidence for label in report.labels), "it saw no context"
    assert report.stopped is not None and report.stopped.rounds == 0


def test_a_failed_question_is_not_asked_again(embedded_toolbox: Toolbox) -> None:
    with serving(lambda _: Reply(text="I would rather not.", finish="refusal")) as server:
        report = interpret(server, embedded_toolbox, "one-shot")
        assert server.calls == 1
    assert report.labels == () and report.supernodes == () and report.claims == ()
    assert "declined to answer" in told(report, "label")
    validate_report(report)


def test_an_unusable_answer_is_repaired_within_the_one_question(embedded_toolbox: Toolbox) -> None:
    def script(question: Question) -> Reply:
        return think(question) if len(question.turns) > 1 else good({"labels": "all of them"})

    with serving(script) as server:
        report = interpret(server, embedded_toolbox, "one-shot", budget=NOTHING_TESTED)
        assert server.calls == 2
    assert report.labels and report.claims


def test_an_empty_budget_asks_nothing(embedded_toolbox: Toolbox) -> None:
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "one-shot", budget=Budget(llm_calls=0))
        assert server.calls == 0
    assert report.cut_short is not None and "llm_calls" in report.cut_short


def test_the_table_keeps_to_its_size_and_says_what_is_left_out(embedded_toolbox: Toolbox) -> None:
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "one-shot", budget=NOTHING_TESTED, max_table_chars=400)
        (question,) = server.questions
    shown = data_of(question)["features"]
    assert len(shown) == 1 and "(2 more, of less influence, did not fit)" in outside_fences(question.user)
    assert [row["influence"] for row in shown] == sorted((row["influence"] for row in shown), reverse=True)
    assert sum(len(supernode.members) for supernode in report.supernodes) == 1


def nonsense(data: dict[str, list[dict[str, str]]]) -> dict[str, object]:
    """Ids that do not exist, ids used twice, kinds mixed, and claims beyond counting."""
    ids = [row["id"] for row in data["features"]]
    word = {"text": "a", "reads": "input", "here": "", "predicate": {"on": "token", "words": ["capital"]}}
    return {
        "labels": [{"feature": "9/9"} | word, {"feature": ids[0]} | word, {"feature": ids[0].split("@")[0]} | word],
        "supernodes": [
            {"id": "s1", "members": ["9/9@9", "not an id"], "label": "ghosts", "role": "input"},
            {"id": "s2", "members": [*ids, ids[0]], "label": "all", "role": "output"},
            {"id": "s2", "members": ids[1:], "label": "same id", "role": "output"},
            {"id": "s3", "members": ids[:1], "label": "used before", "role": "output"},
        ],
        "claims": [
            {"kind": "necessity", "supernode": "s1"},
            {"kind": "swap", "supernode": "s2", "donor_prompt": "no such words here"},
            *[{"kind": "necessity", "supernode": "s2"} for _ in range(1000)],
        ],
    }


def test_nonsense_is_dropped_and_told_in_a_few_lines(embedded_toolbox: Toolbox) -> None:
    with serving(lambda question: good(nonsense(data_of(question)))) as server:
        report = interpret(server, embedded_toolbox, "one-shot", budget=NOTHING_TESTED)
    validate_report(report)
    assert [claim.kind for claim in report.claims] == ["necessity"]
    (supernode,) = report.supernodes
    assert supernode.role == "output" and len(supernode.members) == 1, "what reads does not join what says"
    assert "'9/9' is unknown" in told(report, "label") and "labelled twice" in told(report, "label")
    for reason in ("or the reverse", "used twice", "has no member that could be used", "'not an id' is unknown"):
        assert reason in told(report, "group")
    claims = told(report, "hypothesise")
    assert "s1 of the answer" in claims, "a dropped id must not fall to another supernode"
    assert "claims beyond the 20 asked for" in claims and "(swap) was dropped" in claims
    assert len(report.failures) < 60, "a thousand claims are told once"


@pytest.mark.parametrize(
    ("prompt", "wrong"),
    [
        ("the capital of the state containing Oakland is", None),
        ("the capital of the state containing Dallas is", "too"),
        ("the capital of the state is", "tokens"),
        ("", "dropped"),
    ],
)
def test_a_donor_prompt_of_its_own_is_held_to_the_same_conditions(
    embedded_toolbox: Toolbox, prompt: str, wrong: str | None
) -> None:
    def script(question: Question) -> Reply:
        ids = [row["id"] for row in data_of(question)["features"] if row["at"] == "Dallas"]
        supernode = {"id": "n1", "members": ids, "label": "Texas", "role": "intermediate"}
        swap = {"kind": "swap", "supernode": "n1", "donor_prompt": prompt or " "}
        return good({"labels": [], "supernodes": [supernode], "claims": [swap]})

    with serving(script) as server:
        report = interpret(server, embedded_toolbox, "one-shot")
    if wrong is None:
        (claim,) = report.claims
        assert isinstance(claim, SwapClaim) and claim.donor_prompt == prompt
        assert report.verdict_counts()["supported"] == 1
    else:
        assert report.claims == () and wrong in told(report, "hypothesise")


def test_without_weights_labels_and_claims_rest_on_the_graph(embedded_toolbox: Toolbox) -> None:
    graph = embedded_toolbox.open(
        InterpretationCase("x", prompt="the capital of the state containing Dallas is"), Budget()
    ).full
    with serving(think) as server:
        report = interpret(server, Toolbox(), "one-shot", case=InterpretationCase("alone", graph=graph))
        assert server.calls == 1
    assert not report.tested and {verdict.outcome for verdict in report.verdicts} == {"untested"}


class Forgetful(MemoryCallLog):
    """A log that finds nothing again."""

    def recorded(self, request_sha256: str) -> Completion | None:
        """Nothing."""
        return None


def test_the_answer_is_kept_with_the_run_not_with_the_log(embedded_toolbox: Toolbox) -> None:
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "one-shot", call_log=Forgetful(), budget=NOTHING_TESTED)
        assert server.calls == 1
    assert report.labels and report.supernodes and report.claims
