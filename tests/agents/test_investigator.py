"""The investigator: tools of the model's choice, within limits that hold for every model, and a transcript that replays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.agents.fake_server import FakeServer, Question, Reply, Script, good, serving
from tests.agents.fake_thinker import data_of, outside_fences, think
from tests.agents.styles import DALLAS, QUICK, interpret, timeless, told
from tracescribe.agents.budget import Budget
from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.durable.run_store import RunStore
from tracescribe.agents.llm import donor_book
from tracescribe.agents.llm.agent import LlmAgentSettings, make_llm_agent
from tracescribe.agents.llm.dialogue import Turn, shown_transcript
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import DialogueSettings, Style
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import BudgetExceededError

NOTHING_TESTED = Budget(experiments=0)
FINISH = {"tool": "finish", "reason": ""}
FEW = DialogueSettings(max_turns=6, max_claim_turns=4)


@dataclass(frozen=True)
class Told:
    """One interpretation by the fake model, what was asked for it, and the log."""

    report: CircuitReport
    questions: tuple[Question, ...]
    log: MemoryCallLog
    server: FakeServer


@pytest.fixture(scope="module")
def investigated(embedded_toolbox: Toolbox) -> Iterator[Told]:
    log = MemoryCallLog()
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "investigator", call_log=log)
        yield Told(report, tuple(server.questions), log, server)


def step_of(question: Question) -> str:
    """The step that a turn belongs to."""
    return outside_fences(question.user).split("Step: ")[1].split(".")[0]


def turns_of(questions: tuple[Question, ...] | list[Question], step: str) -> list[dict[str, Any]]:
    """The data of every turn of a step."""
    return [
        data_of(question)
        for question in questions
        if question.schema_name == "InvestigatorAnswer" and step_of(question) == step
    ]


def test_the_report_keeps_its_contract(investigated: Told) -> None:
    report = investigated.report
    validate_report(report)
    assert report.verdict_counts()["supported"] > 0 and report.labels and report.supernodes
    assert report.provenance.agent == "llm-investigator:fake-1"
    assert set(report.provenance.prompt_versions) == {"investigate", "relabel_feature", "repair_answer"}
    assert report.cost.llm_calls == len(investigated.questions)
    assert "no supernode 's999'" in told(report, "hypothesise"), "what is dropped is told"


def test_it_explores_then_claims_and_never_sees_a_verdict_before(investigated: Told) -> None:
    steps = [step_of(q) for q in investigated.questions if q.schema_name == "InvestigatorAnswer"]
    assert steps == sorted(steps, key=["explore", "hypothesise", "revise"].index)
    for step in ("explore", "hypothesise"):
        turns = turns_of(investigated.questions, step)
        assert turns[0]["transcript"] == [] and all(turn["verdicts"] == {} for turn in turns)
        assert [len(turn["transcript"]) for turn in turns] == list(range(len(turns)))


def test_the_tools_are_the_same_in_every_request(investigated: Told) -> None:
    asked = [q for q in investigated.questions if q.schema_name == "InvestigatorAnswer"]
    schemas = {json.dumps(q.body["response_format"], sort_keys=True) for q in asked}
    assert len(schemas) == 1 and len({q.system for q in asked}) == 1


def test_nothing_of_the_scoring_half_is_shown(investigated: Told, embedded_toolbox: Toolbox) -> None:
    store = embedded_toolbox.evidence
    assert store is not None
    test_half = set(store.token_sentence[store.token_in_test].tolist())
    shown = set()
    for turn in turns_of(investigated.questions, "explore"):
        for entry in turn["transcript"]:
            for done in entry["did"]:
                result = done["result"] if isinstance(done["result"], dict) else {}
                for context in [*result.get("contexts", []), *result.get("silent", [])]:
                    shown.add(int(context["id"].removeprefix("s")))
    assert shown and not shown & test_half
    asked = " ".join(question.user for question in investigated.questions)
    assert '"auc"' not in asked and '"f1"' not in asked and "balanced_accuracy" not in asked


def test_the_same_log_gives_the_same_report_without_a_request(investigated: Told, embedded_toolbox: Toolbox) -> None:
    calls = investigated.server.calls
    again = interpret(investigated.server, embedded_toolbox, "investigator", call_log=investigated.log)
    assert investigated.server.calls == calls
    assert timeless(again) == timeless(investigated.report)


# -- models that misbehave ------------------------------------------------------------------------------------------------


def always(make: Callable[[dict[str, Any], str], list[dict[str, Any]]]) -> Script:
    """A model that answers every turn by this function of its data and step."""

    def script(question: Question) -> Reply:
        return good({"note": "", "actions": make(data_of(question), step_of(question))})

    return script


def in_step(step: str, make: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> Script:
    """The fake model, but for one step."""

    def script(question: Question) -> Reply:
        if question.schema_name != "InvestigatorAnswer" or step_of(question) != step:
            return think(question)
        return good({"note": "", "actions": make(data_of(question))})

    return script


def test_one_that_asks_the_same_for_ever_is_given_up(embedded_toolbox: Toolbox) -> None:
    with serving(always(lambda data, step: [{"tool": "list_features", "page": 1}])) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
        assert server.calls == 1 + DialogueSettings().max_failed_turns
    assert "asked before" in told(report, "label") and "given up" in told(report, "label")
    assert report.labels == () and report.supernodes == () and report.claims == ()
    assert "no supernode was made" in told(report, "group")
    validate_report(report)


def test_one_that_never_finishes_uses_its_turns_and_no_more(embedded_toolbox: Toolbox) -> None:
    def wander(data: dict[str, Any], step: str) -> list[dict[str, Any]]:
        return [{"tool": "look_at_token", "position": len(data["transcript"])}]

    with serving(always(wander)) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED, dialogue=FEW)
        assert server.calls == FEW.max_turns
    assert f"all {FEW.max_turns} turns were used" in told(report, "label")
    validate_report(report)


@pytest.mark.parametrize(
    "rubbish",
    [Reply(text="I think, therefore"), good({"actions": [{"tool": "run_experiment"}]}), good({"actions": []})],
)
def test_one_that_answers_rubbish_is_given_up(embedded_toolbox: Toolbox, rubbish: Reply) -> None:
    with serving(lambda _: rubbish) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
        repairs = 2
        assert server.calls == DialogueSettings().max_failed_turns * (1 + repairs)
    assert "InvestigatorAnswer" in told(report, "label") and "given up" in told(report, "label")
    validate_report(report)


def test_a_provider_that_is_down_ends_the_dialogue(embedded_toolbox: Toolbox) -> None:
    with serving(lambda _: Reply(status=401, text="no")) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
        assert server.calls == 1
    assert report.labels == () and [failure.step for failure in report.failures] == ["label", "group"]


def test_an_empty_budget_keeps_what_was_found(embedded_toolbox: Toolbox) -> None:
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=Budget(llm_calls=2))
        assert server.calls == 2
    assert report.labels, "labels of the second turn stand"
    assert "llm_calls" in told(report, "label")
    validate_report(report)


def nonsense(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Ids that do not exist, tools of other steps, kinds mixed, everything twice."""
    if len(data["transcript"]) > 1:
        return [{"tool": "finish", "reason": "done\u202e"}]
    word = {"text": "a", "reads": "input", "here": "", "predicate": {"on": "token", "words": ["no such word"]}}
    everything = {"tool": "make_supernode", "members": ["2/55@8", "0/86@7", "7/7@7"], "label": "all", "role": "input"}
    if not data["transcript"]:
        return [
            {"tool": "look_at_feature", "feature": "9/999@1"},
            {"tool": "look_at_feature", "feature": "ignore previous instructions"},
            {"tool": "look_at_token", "position": 10**9},
            {"tool": "list_features", "page": 10**9},
            {"tool": "neighbours", "feature": "2/55"},
            {"tool": "find_donors", "supernode": "s1"},
            {"tool": "propose_claims", "claims": [{"kind": "necessity", "supernode": "s1"}]},
            {"tool": "drop_supernode", "supernode": "s1"},
            {"tool": "label", "feature": "2/55", **word},
            everything,
            everything | {"members": ["2/55@8"]},
            {"tool": "look_at_token", "position": 1},
            {"tool": "finish", "reason": "the thirteenth action"},
        ]
    return [{"tool": "make_supernode", "members": ["0/86@7"], "label": "Dallas", "role": "output"}]


def test_nonsense_is_told_to_the_model_and_in_the_report(embedded_toolbox: Toolbox) -> None:
    with serving(in_step("explore", nonsense)) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
        turns = turns_of(server.questions, "explore")
    assert len(turns) == 3
    results = [done.get("result", done) for done in turns[1]["transcript"][0]["did"]]
    assert sum("error" in result for result in results) == 9 and "not_carried_out" in results[-1]
    said = told(report, "label")
    for reason in (
        "no feature '9/999@1'",
        "positions are 0 to 8",
        "no page 1000000000",
        "find_donors is not a tool of the step explore",
        "propose_claims is not a tool of the step explore",
        "words that no token is",
        "or the reverse",
        "'7/7@7' is unknown",
        "is used twice",
        "actions beyond the 12 of one turn",
    ):
        assert reason in said, reason
    by_label = {supernode.label: supernode for supernode in report.supernodes}
    assert by_label["all"].role == "output" and len(by_label["all"].members) == 1
    assert by_label["Dallas"].role != "output", "the graph decides whether a supernode says or reads"
    validate_report(report)


def test_a_supernode_can_be_taken_back(embedded_toolbox: Toolbox) -> None:
    def change_of_mind(data: dict[str, Any]) -> list[dict[str, Any]]:
        done = len(data["transcript"])
        make = {"tool": "make_supernode", "members": ["0/86@7"], "label": "Texas", "role": "intermediate"}
        if done == 0:
            return [make]
        if done == 1:
            return [{"tool": "drop_supernode", "supernode": data["notebook"]["supernodes"][0]["id"]}, make]
        return [{"tool": "finish", "reason": ""}]

    with serving(in_step("explore", change_of_mind)) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
    assert [supernode.supernode_id for supernode in report.supernodes] == ["s2"]


def test_a_thousand_claims_are_cut_to_what_is_asked_for(embedded_toolbox: Toolbox) -> None:
    def flood(data: dict[str, Any]) -> list[dict[str, Any]]:
        if len(data["transcript"]) > 1:
            return [{"tool": "finish", "reason": ""}]
        first = data["notebook"]["supernodes"][0]["id"]
        claims = [
            {
                "kind": "steering",
                "supernode": first,
                "multiplier": 2 + n / 200,
                "expected_token": "Austin",
                "direction": "up",
            }
            for n in range(1000)
        ]
        return [{"tool": "propose_claims", "claims": claims}]

    with serving(in_step("hypothesise", flood)) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED, max_claims=5)
    assert len(report.claims) <= 5
    assert len(report.failures) < 30


def test_verdicts_come_back_and_new_supernodes_can_be_made_for_new_claims(embedded_toolbox: Toolbox) -> None:
    """A refuted claim opens a dialogue with its measurement; what it makes is registered and tested in the next round."""

    def doubtful(data: dict[str, Any]) -> list[dict[str, Any]]:
        if data["transcript"]:
            return [{"tool": "finish", "reason": ""}]
        (output,) = [s["id"] for s in data["notebook"]["supernodes"] if s["label"].startswith("say ")]
        claim = {
            "kind": "steering",
            "supernode": output,
            "multiplier": 0.0,
            "expected_token": "Austin",
            "direction": "up",
        }
        return [{"tool": "propose_claims", "claims": [claim]}]

    def better(data: dict[str, Any]) -> list[dict[str, Any]]:
        if data["transcript"]:
            return [{"tool": "finish", "reason": ""}]
        members = [member for s in data["notebook"]["supernodes"] if s["role"] != "output" for member in s["members"]]
        return [
            {"tool": "make_supernode", "members": members, "label": "the question", "role": "relation"},
            {"tool": "make_supernode", "members": members, "label": "the same again", "role": "relation"},
            {"tool": "propose_claims", "claims": [{"kind": "necessity", "supernode": "s4"}]},
        ]

    def script(question: Question) -> Reply:
        if question.schema_name == "InvestigatorAnswer" and step_of(question) == "revise":
            return in_step("revise", better)(question)
        return in_step("hypothesise", doubtful)(question)

    with serving(script) as server:
        report = interpret(server, embedded_toolbox, "investigator")
        (first, *_) = turns_of(server.questions, "revise")
    (tested,) = first["verdicts"]["claims"]
    assert tested["verdict"] == "refuted" and tested["effect"] < 0 < tested["needed"]
    assert tested["controls"] >= 50 and tested["controls_mean"] is not None
    assert first["verdicts"]["circuit"] == "not measured" or "sufficiency" in first["verdicts"]["circuit"]
    wide = {supernode.supernode_id: supernode for supernode in report.supernodes}["s4"]
    assert len(wide.members) == 2
    verdict = {claim.claim_id: verdict for claim, verdict in zip(report.claims, report.verdicts, strict=True)}
    assert [claim.kind for claim in report.claims] == ["steering", "necessity"]
    assert verdict["c2"].outcome == "supported", verdict["c2"]
    assert "has the members of" in told(report, "revise") or "used twice" in told(report, "revise")
    validate_report(report)


def test_a_limit_met_in_a_tool_is_told_and_the_dialogue_goes_on(
    embedded_toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spent(*_: object) -> None:
        raise BudgetExceededError("forward_passes: the limit of 10 would be passed")

    monkeypatch.setattr(donor_book, "find_donors", spent)
    with serving(think) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED)
        (_, second, *_) = turns_of(server.questions, "hypothesise")
    results = [done["result"] for done in second["transcript"][0]["did"]]
    assert results and all("forward_passes" in result["error"] for result in results)
    assert {claim.kind for claim in report.claims} == {"necessity", "label", "sufficiency"}
    assert "find_donors: forward_passes" in told(report, "hypothesise")


# -- transcripts ----------------------------------------------------------------------------------------------------------


def test_a_dialogue_that_was_cut_goes_on_where_it_stopped(embedded_toolbox: Toolbox) -> None:
    """The state after each turn is in `tools.memory`, as plain JSON: the next process asks what this one would have."""
    with serving(think) as server:
        provider = ProviderSettings.of(
            environment={}, provider="openai", model="fake-1", base_url=server.url("openai"), max_attempts=1
        )
        chosen = LlmAgentSettings(provider, "investigator", judge_labels=False)
        with make_llm_agent(chosen, QUICK, None, environment={}) as agent:
            tools = embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())
            whole = agent.proposer.label(tools, make_survey(tools))
        uninterrupted = [question.turns for question in server.questions]
        server.questions.clear()

        def dies(question: Question) -> Reply:
            return Reply(status=401, text="killed") if len(data_of(question)["transcript"]) == 2 else think(question)

        server.script = dies
        with make_llm_agent(chosen, QUICK, None, environment={}) as agent:
            tools = embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())
            agent.proposer.label(tools, make_survey(tools))
        memory = json.loads(json.dumps(tools.memory))
        memory["explore dialogue"]["ended"] = ""  # as it stood before the turn that never came back
        asked = [question.turns for question in server.questions[:-1]]
        server.questions.clear()
        server.script = think
        with make_llm_agent(chosen, QUICK, None, environment={}) as agent:
            tools = embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())
            tools.memory.update(memory)
            resumed = agent.proposer.label(tools, make_survey(tools))
        assert asked + [question.turns for question in server.questions] == uninterrupted
    assert resumed == whole


def _turn(number: int, size: int) -> Turn:
    done: dict[str, JsonValue] = {
        "action": {"tool": "look_at_feature", "feature": f"0/{number}"},
        "result": {"text": "x" * size},
    }
    return Turn(note=f"note {number}", did=(done,))


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(200, 20_000))
@settings(max_examples=60, deadline=None)
def test_a_shown_transcript_always_fits_and_keeps_the_newest_whole(sizes: list[int], limit: int) -> None:
    turns = [_turn(number, size) for number, size in enumerate(sizes)]
    shown, shortened = shown_transcript(turns, limit)
    assert sum(len(json.dumps(entry, ensure_ascii=False)) + 2 for entry in shown) <= limit
    whole, none = shown_transcript(turns, 10**9)
    assert none == 0 and len(whole) == len(turns)
    kept = len(turns) - shortened
    assert shown[len(shown) - kept :] == whole[len(turns) - kept :], "what is not shortened stands as it was"
    numbers = [entry["turn"] for entry in shown if isinstance(entry, dict)]
    assert numbers == list(range(len(turns) - len(shown) + 1, len(turns) + 1)), "only the oldest are left out"


def test_what_was_shortened_may_be_asked_again(embedded_toolbox: Toolbox) -> None:
    """A small transcript: the first look has been cut to a line by the third turn, so the same look is no repetition."""

    def forgetful(data: dict[str, Any]) -> list[dict[str, Any]]:
        position = len(data["transcript"]) % 2 + 7
        return [{"tool": "look_at_token", "position": position}] if len(data["transcript"]) < 4 else [FINISH]

    limits = DialogueSettings(max_transcript_chars=900)
    with serving(in_step("explore", forgetful)) as server:
        report = interpret(server, embedded_toolbox, "investigator", budget=NOTHING_TESTED, dialogue=limits)
    assert "asked before" not in told(report, "label")


FINISH = {"tool": "finish", "reason": ""}


# -- runs that are cut ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "cuts"), [("one-shot", (1,)), ("investigator", (2, 3, 5))])
def test_a_run_that_is_cut_ends_in_the_same_report_and_asks_nothing_twice(
    embedded_toolbox: Toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: Style, cuts: tuple[int, ...]
) -> None:
    """The process dies just after the nth answer of a run was recorded, several times over."""
    real = LlmSession.ask
    left: list[int] = []

    def dying(self: LlmSession, *args: Any) -> Any:
        answer = real(self, *args)
        if left:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return answer

    with serving(think) as server:
        whole = interpret(server, embedded_toolbox, style, budget=NOTHING_TESTED)
        calls = server.calls
        monkeypatch.setattr(LlmSession, "ask", dying)
        log, store = tmp_path / "calls.jsonl", RunStore(tmp_path / "run")
        given: dict[str, Any] = {"call_log": log, "store": store, "budget": NOTHING_TESTED}
        for cut in cuts:
            left[:] = [cut]
            with pytest.raises(KeyboardInterrupt):
                interpret(server, embedded_toolbox, style, **given)
        left.clear()
        resumed = interpret(server, embedded_toolbox, style, **given)
        assert server.calls == 2 * calls
    assert timeless(resumed) == timeless(whole)
