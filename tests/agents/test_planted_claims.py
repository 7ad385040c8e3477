"""Claims that are known to be wrong, tested like any other: the rule must refuse them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Claim, EdgeClaim, FeatureAt, NecessityClaim, SwapClaim
from tracescribe.agents.findings import Supernode, Verdict
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.experiments import run_experiments
from tracescribe.agents.testing.planning import design_intervention
from tracescribe.agents.testing.verdicts import judge
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.prune import node_influence

N_WRONG = 55
MAX_WRONGLY_SUPPORTED = 0.06
"""Share of wrong claims that may be called supported: the test level of .05, and one in 50 for luck."""


def verdicts_on(tools: CaseTools, supernodes: Sequence[Supernode], claims: Sequence[Claim]) -> list[Verdict]:
    """Register and run claims; each is judged as if it stood alone, which is the easiest way to be supported."""
    for supernode in supernodes:
        tools.registry.define(supernode)
    for claim in claims:
        tools.registry.register(claim)
    batch = run_experiments(tools, supernodes, claims, ExperimentSettings(n_controls=99))
    return [judge([c], batch.plans, batch.measurements, dict(batch.untestable))[0] for c in claims]


def supernode(tools: CaseTools, label: str, nodes: Sequence[FeatureNode]) -> Supernode:
    members = tuple(FeatureAt.of(node) for node in nodes)
    return Supernode(supernode_id=tools.new_supernode_id(), label=label, role="intermediate", members=members)


def necessary(tools: CaseTools, of: Supernode) -> NecessityClaim:
    return NecessityClaim(
        claim_id=tools.new_claim_id(),
        statement=f"The answer needs '{of.label}'.",
        supernode=of.supernode_id,
        target_token="Austin",
    )


def swap(tools: CaseTools, of: Supernode, donor: str, features: Sequence[FeatureNode]) -> SwapClaim:
    return SwapClaim(
        claim_id=tools.new_claim_id(),
        statement=f"'{of.label}' is the intermediate step.",
        supernode=of.supernode_id,
        donor_prompt=donor,
        donor_features=tuple(FeatureAt.of(node) for node in features),
        expected_token=tools.predict([donor])[0].token,
    )


def strongest_at(tools: CaseTools, prompt: str, word: str) -> list[FeatureNode]:
    """The most influential feature on a word of a prompt, found by tracing it."""
    graph = tools.trace(prompt)
    position = graph.tokens.index(word)
    influence = node_influence(graph)
    here = [n for n in graph.node_of_feature if n.position == position]
    return [max(here, key=lambda n: influence[graph.node_of_feature[n]])]


def asking(city: str) -> str:
    return DALLAS.replace("Dallas", city)


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    return embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())


def test_ohio_is_not_the_intermediate_step(tools: CaseTools) -> None:
    """Dallas does not lie in Ohio, and no test may say so, whatever Ohio's features are replaced by."""
    ohio = supernode(tools, "Ohio", strongest_at(tools, asking("Cleveland"), "Cleveland"))
    california = strongest_at(tools, asking("Oakland"), "Oakland")
    assert ohio.members[0].node != california[0]
    claims: list[Claim] = [necessary(tools, ohio), swap(tools, ohio, asking("Oakland"), california)]
    assert [v.outcome for v in verdicts_on(tools, [ohio], claims)] == ["refuted", "refuted"]


def test_texas_is_the_intermediate_step(tools: CaseTools) -> None:
    """The same test says yes where yes is right: it does not refuse everything."""
    texas = supernode(tools, "Texas", strongest_at(tools, DALLAS, "Dallas"))
    swapped = swap(tools, texas, asking("Oakland"), strongest_at(tools, asking("Oakland"), "Oakland"))
    assert swapped.expected_token == "Sacramento"
    claims: list[Claim] = [necessary(tools, texas), swapped]
    assert [v.outcome for v in verdicts_on(tools, [texas], claims)] == ["supported", "supported"]


def test_members_for_which_nothing_is_brought_in_are_named_in_the_plan(tools: CaseTools) -> None:
    texas = strongest_at(tools, DALLAS, "Dallas")
    (last,) = strongest_at(tools, DALLAS, "is")
    both = supernode(tools, "Texas and what follows", [*texas, last])
    claim = swap(tools, both, asking("Oakland"), strongest_at(tools, asking("Oakland"), "Oakland"))
    nodes = {both.supernode_id: tuple(member.node for member in both.members)}
    plan = design_intervention(tools, nodes, claim, ExperimentSettings(n_controls=50, n_paraphrases=0)).plan
    assert plan.intervention["riders"] == [list(last)]
    alone = {both.supernode_id: tuple(texas)}
    assert (
        "riders" not in design_intervention(tools, alone, claim, ExperimentSettings(n_paraphrases=0)).plan.intervention
    )


def test_features_brought_in_elsewhere_make_no_swap(tools: CaseTools) -> None:
    """'capital' is the same word in both prompts; the donor's last features bring its answer, and that is not its doing."""
    capital = supernode(tools, "capital", strongest_at(tools, DALLAS, "capital"))
    claim = swap(tools, capital, asking("Oakland"), strongest_at(tools, asking("Oakland"), "is"))
    (verdict,) = verdicts_on(tools, [capital], [claim])
    assert verdict.outcome == "untested"
    assert "stand where supernode" in verdict.reason and "like by like" in verdict.reason


PLANTED_ON = (
    (DALLAS, ("Oakland", "Cleveland", "Tucson")),
    (asking("Miami"), ("Boulder", "Dallas", "Seattle")),
    ("the currency of the country containing Osaka is", ("Omsk", "Krakow", "Cusco")),
    ("the language of the country containing Milan is", ("Porto", "Bergen", "Hue")),
    ("the opposite of hot is", ("big", "fast", "young")),
)
"""Prompts, and words that make a donor when they take the place of the word that tells the intermediate step."""


def test_random_wrong_claims_are_hardly_ever_supported(
    embedded_toolbox: Toolbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """55 wrong claims of five kinds in three tasks: the rate of wrongly supported ones is printed for each kind.

    A silent feature swapped for what the donor has there; an influential feature of another role swapped likewise; the
    right swap with another donor's answer; a silent feature said to be needed; edges against the direction of the model.
    """
    found: dict[str, list[str]] = {}
    for number, (prompt, words) in enumerate(PLANTED_ON):
        tools = embedded_toolbox.open(InterpretationCase(f"wrong {number}", prompt=prompt), Budget())
        rng = np.random.default_rng(number)
        planted, supernodes = _planted(tools, rng, prompt, words)
        for (kind, _), verdict in zip(planted, verdicts_on(tools, supernodes, [c for _, c in planted]), strict=True):
            found.setdefault(kind, []).append(verdict.outcome)
    outcomes = [outcome for kind in found.values() for outcome in kind]
    with capsys.disabled():
        for kind, told in found.items():
            print(f"\n{kind}: {len(told)} planted, {told.count('supported')} supported", end="")
        print(f"\n{N_WRONG} wrong claims: wrongly supported {outcomes.count('supported') / N_WRONG:.3f}")
    assert len(outcomes) == N_WRONG
    assert outcomes.count("supported") / N_WRONG <= MAX_WRONGLY_SUPPORTED
    assert outcomes.count("untested") == 0


def _planted(
    tools: CaseTools, rng: np.random.Generator, prompt: str, words: Sequence[str]
) -> tuple[list[tuple[str, Claim]], list[Supernode]]:
    """Eleven wrong claims about one prompt, each with its kind, and the supernodes that they name."""
    step_word = next(w for w in prompt.split() if w in STEP_WORDS)
    answer = tools.predict([prompt])[0].token
    others = [word for word in prompt.split() if word not in (step_word, "is") and _active_at(tools, prompt, word)]
    step = supernode(tools, "step", strongest_at(tools, prompt, step_word))
    last = supernode(tools, "answer", strongest_at(tools, prompt, prompt.split()[-1]))
    supernodes, planted = [step, last], list[tuple[str, Claim]]()
    for index, word in enumerate(words):
        donor = prompt.replace(step_word, word)
        there = strongest_at(tools, donor, word)
        silent = supernode(tools, "silent", [_silent(tools, rng, there[0])])
        planted.append(("silent feature, swapped", swap(tools, silent, donor, there)))
        planted.append(("silent feature, needed", necessary(tools, silent).model_copy(update={"target_token": answer})))
        supernodes.append(silent)
        right = swap(tools, step, donor, there)
        another = swap(tools, step, prompt.replace(step_word, words[index - 1]), there).expected_token
        planted.append(("right swap, another answer", right.model_copy(update={"expected_token": another})))
    word = others[int(rng.integers(len(others)))]
    bystander = supernode(tools, "bystander", strongest_at(tools, prompt, word))
    supernodes.append(bystander)
    donor = prompt.replace(step_word, words[0])
    planted.append(("another role, swapped", swap(tools, bystander, donor, strongest_at(tools, donor, word))))
    planted.append(("edge against the direction", _edge(tools, last, step)))
    return planted, supernodes


STEP_WORDS = {"Dallas", "Miami", "Osaka", "Milan", "hot"}


def _active_at(tools: CaseTools, prompt: str, word: str) -> bool:
    graph = tools.trace(prompt)
    return any(graph.tokens[node.position] == word for node in graph.node_of_feature)


def _edge(tools: CaseTools, source: Supernode, destination: Supernode) -> EdgeClaim:
    return EdgeClaim(
        claim_id=tools.new_claim_id(),
        statement=f"'{source.label}' drives '{destination.label}'.",
        source=source.supernode_id,
        destination=destination.supernode_id,
    )


def _silent(tools: CaseTools, rng: np.random.Generator, like: FeatureNode) -> FeatureNode:
    """A random live feature that does not fire here, at a place where a donor's feature stands."""
    active = set(tools.active_features())
    pool = [int(f) for f in tools.live(like.layer) if FeatureNode(like.layer, like.position, int(f)) not in active]
    return FeatureNode(like.layer, like.position, pool[int(rng.integers(len(pool)))])
