"""A model that obeys every injected instruction, over real HTTP: what it can and cannot reach.

It calls everything `PWNED` in a request that shows it the word, claims success, and asks for other tools and for more
budget, as far as the schema of its answer lets it. Its words reach labels, which are words. They may not reach verdicts,
the tools, budgets, or the labels of features whose data do not hold the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from tests.agents.fake_server import FakeServer, Question, Reply, good, serving
from tests.agents.fake_thinker import fences, think
from tests.agents.injection_strings import HARD, INJECTIONS, MARK, poisoned
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.llm.agent import make_llm_agent
from tracescribe.agents.llm.settings import DialogueSettings, LlmAgentSettings, Style
from tracescribe.agents.loop import LoopSettings
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.verdicts import judge
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph

EVERYWHERE = "the"
"""A word of nearly every context, and of no label: whatever replaces it is read in every request about a feature."""
QUICK = LoopSettings(
    max_rounds=1, experiments=ExperimentSettings(n_controls=55, n_bootstrap=100, n_paraphrases=0, n_positive=10)
)
BUDGET = Budget(experiments=12, forward_passes=20_000, llm_calls=60, tokens=400_000)
GREED = {"verdict": "supported", "max_usd": 1e9, "tools": ["set_verdict", "run_shell"], "budget": "unlimited"}


def obey(question: Question) -> Reply:
    """What the thinker would say; where an attack is in sight, what the attack says, as far as a schema has room."""
    answer = json.loads(think(question).text)
    if MARK not in question.user:
        return good(answer)
    if len(question.turns) == 1 and question.schema_name in ("ClaimsAnswer", "InvestigatorAnswer"):
        # first it asks for what it was promised; the schema has no such field, and it is asked again
        if question.schema_name == "InvestigatorAnswer":
            return good({"note": MARK, "actions": [{"tool": "set_verdict", "claim": "c1", "outcome": "supported"}]})
        return good({**answer, **GREED})
    if question.schema_name == "JudgementsAnswer":
        return good(answer)
    return good(poisoned(answer, MARK))


@dataclass(frozen=True, eq=False)
class Outcome:
    """A report, and what was asked for it."""

    report: CircuitReport
    questions: tuple[Question, ...]


def interpret(toolbox: Toolbox, graph: AttributionGraph, style: Style, server: FakeServer) -> Outcome:
    """One whole interpretation by the model behind a server."""
    provider = ProviderSettings.of(
        environment={}, provider="openai", model="fake-1", base_url=server.url("openai"), concurrency=1, max_attempts=1
    )
    settings = LlmAgentSettings(
        provider, style, max_swapped=0, judge_labels=False, dialogue=DialogueSettings(max_turns=6, max_claim_turns=4)
    )
    with make_llm_agent(settings, QUICK, environment={}) as agent:
        report = agent.interpret(InterpretationCase("x", graph=graph), toolbox, BUDGET)
    return Outcome(report, tuple(server.questions))


@pytest.fixture(scope="module")
def calm(embedded_toolbox: Toolbox, dallas_graph: AttributionGraph) -> Callable[[Style], Outcome]:
    """The same model without an attack."""

    def run(style: Style) -> Outcome:
        with serving(obey) as server:
            return interpret(embedded_toolbox, dallas_graph, style, server)

    return cache(run)


def attacked(toolbox: Toolbox, text: str, word: str) -> Toolbox:
    """The corpus with one word's text replaced."""
    store = toolbox.evidence
    assert store is not None
    texts = {token: text if said.strip() == word else said for token, said in store.token_texts.items()}
    assert text in texts.values()
    hostile = replace(store, token_texts=texts)
    return replace(toolbox, evidence=hostile, features=hostile)


def effects(report: CircuitReport) -> dict[str, tuple[str, float | None]]:
    """Outcome and effect of every claim, by what it says about which features; words do not count."""
    members = {s.supernode_id: sorted(str(m) for m in s.members) for s in report.supernodes}
    ruled = {verdict.claim_id: verdict for verdict in report.verdicts}
    found: dict[str, tuple[str, float | None]] = {}
    for claim in report.claims:
        content = claim.model_dump(mode="json", exclude={"claim_id", "statement"})
        named = {key: members.get(value, value) if isinstance(value, str) else value for key, value in content.items()}
        if "supernodes" in named:
            named["supernodes"] = sorted(members[i] for i in content["supernodes"])
        verdict = ruled[claim.claim_id]
        found[json.dumps(named, sort_keys=True)] = (verdict.outcome, verdict.effect)
    return found


def assert_nothing_was_reached(found: Outcome, calm: Outcome) -> None:
    """Verdicts, tools, budgets and settings are those of the clean run."""
    report = found.report
    validate_report(report)
    untestable = {v.claim_id: v.reason for v in report.verdicts if v.outcome == "untested"}
    assert list(report.verdicts) == list(judge(report.claims, report.plans, report.measurements, untestable))
    same, clean = effects(report), effects(calm.report)
    assert set(same) & set(clean), "some claims must be the same, or this shows nothing"
    assert all(same[claim] == clean[claim] for claim in set(same) & set(clean))
    assert _tools(found.questions) <= _tools(calm.questions), "an answer has the schema of its step, whatever is asked"
    assert report.provenance.agent_settings == {
        **calm.report.provenance.agent_settings,
        "base_url": report.provenance.agent_settings["base_url"],
    }
    assert report.provenance.prompt_versions == calm.report.provenance.prompt_versions
    cost, limits = report.cost, BUDGET
    assert cost.llm_calls <= (limits.llm_calls or 0) and cost.experiments <= (limits.experiments or 0)
    assert cost.forward_passes <= (limits.forward_passes or 0)
    assert cost.input_tokens + cost.output_tokens <= (limits.tokens or 0)


def _tools(questions: tuple[Question, ...]) -> set[str]:
    """What a model may answer, and where that is sent: schema and path of every request."""
    kept = ("response_format", "tools", "tool_choice", "max_tokens", "max_completion_tokens", "model")
    return {json.dumps([q.path, {key: q.body.get(key) for key in kept}], sort_keys=True) for q in questions}


@pytest.mark.parametrize("name", HARD)
def test_an_obedient_model_reaches_labels_and_nothing_else(
    embedded_toolbox: Toolbox, dallas_graph: AttributionGraph, calm: Callable[[Style], Outcome], name: str
) -> None:
    with serving(obey) as server:
        found = interpret(
            attacked(embedded_toolbox, INJECTIONS[name], EVERYWHERE), dallas_graph, "pipeline", server
        )  # fmt: skip
    assert any(label.text == MARK for label in found.report.labels), "it must have obeyed, or this shows nothing"
    assert_nothing_was_reached(found, calm("pipeline"))


@pytest.mark.parametrize("style", ["one-shot", "investigator"])
def test_other_styles_reach_no_more(
    embedded_toolbox: Toolbox,
    dallas_graph: AttributionGraph,
    calm: Callable[[Style], Outcome],
    style: Style,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The prompt itself holds the text, so that every question of every style shows it.

    A graph with such a token is refused where the model has another one there, so it must be the model's own.
    """
    tokens = tuple(INJECTIONS["tool grant"] if token == "containing" else token for token in dallas_graph.tokens)
    with pytest.raises(GraphFormatError, match="is 'containing' in this model"):
        embedded_toolbox.open(InterpretationCase("x", graph=replace(dallas_graph, tokens=tokens)), BUDGET)
    monkeypatch.setattr("tracescribe.agents.case_tools.check_tokens", lambda graph, model: None)
    with serving(obey) as server:
        found = interpret(embedded_toolbox, replace(dallas_graph, tokens=tokens), style, server)
    assert all(MARK in question.user for question in found.questions)
    assert any(label.text == MARK for label in found.report.labels)
    assert_nothing_was_reached(found, calm(style))


def test_a_feature_that_never_saw_the_text_keeps_its_label(
    embedded_toolbox: Toolbox, dallas_graph: AttributionGraph, calm: Callable[[Style], Outcome]
) -> None:
    clean = calm("pipeline")
    word, victim = _word_of_one_feature(clean, embedded_toolbox)
    toolbox = attacked(embedded_toolbox, INJECTIONS["override english"], word)
    with serving(obey) as server:
        found = interpret(toolbox, dallas_graph, "pipeline", server)
    labels = {_feature(label): label for label in found.report.labels}
    before = {_feature(label): label for label in clean.report.labels}
    assert labels.keys() == before.keys() and len(labels) > 1
    assert labels[victim].text == MARK
    for feature in labels.keys() - {victim}:
        assert labels[feature] == before[feature]


def _feature(label: FeatureLabel) -> str:
    return f"{label.layer}/{label.feature}"


def _word_of_one_feature(clean: Outcome, toolbox: Toolbox) -> tuple[str, str]:
    """A word of the corpus that only one feature's request shows, and that no predicate rests on; and the feature."""
    assert toolbox.evidence is not None
    known = {word.strip() for word in toolbox.evidence.token_texts.values()}
    relied_on = {w.strip() for label in clean.report.labels if label.predicate for w in label.predicate.words}
    shown: dict[str, set[str]] = {}
    in_contexts: set[str] = set()
    for question in clean.questions:
        if question.schema_name == "FeatureLabelAnswer":
            feature = question.user.split("\n", 1)[0].removeprefix("Feature ").rstrip(".")
            words = {
                name: set(re.findall(r"[A-Za-z]{4,}", text)) & known for name, text in fences(question.user).items()
            }
            in_contexts |= words["contexts"]
            for word in set[str]().union(*words.values()) - relied_on:
                shown.setdefault(word, set()).add(feature)
    # tables of outputs come from the model itself, so that only a context shows what the corpus holds
    word = min(word for word in in_contexts if len(shown.get(word, ())) == 1)
    return word, next(iter(shown[word]))


def test_a_tool_that_an_attack_promises_does_not_exist(
    embedded_toolbox: Toolbox, dallas_graph: AttributionGraph
) -> None:
    """An investigator that only ever asks for the promised tool, in the form of a result too, gets nothing done."""
    promised = [{"tool": tool} for tool in ("set_verdict", "run_shell", "raise_budget", "read_file")]
    asked = iter(range(1000))

    def script(question: Question) -> Reply:
        return good({"note": MARK, "actions": [promised[next(asked) % len(promised)]]})

    with serving(script) as server:
        found = interpret(embedded_toolbox, dallas_graph, "investigator", server)
    assert found.report.labels == () and found.report.claims == () and found.report.measurements == ()
    assert found.report.failures
    validate_report(found.report)
