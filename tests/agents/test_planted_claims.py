"""Claims that are known to be wrong, tested like any other: the rule must refuse them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Claim, FeatureAt, NecessityClaim, SwapClaim
from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.experiments import run_experiments
from tracescribe.agents.findings import Supernode, Verdict
from tracescribe.agents.toolbox import Toolbox
from tracescribe.agents.verdicts import judge
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.prune import node_influence

N_WRONG = 50
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


def test_random_wrong_claims_are_hardly_ever_supported(
    embedded_toolbox: Toolbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 'intermediate steps' that are none: live features that are silent here, active ones without influence, and
    influential ones of another role (the word 'capital', said to be the state).

    Each is swapped for what stands at the same layer and position in a random donor prompt (those of another role: for
    what stands on the donor's city), and is said to carry the donor's answer.
    """
    prompts = [asking(city) for city in ("Dallas", "Oakland", "Cleveland", "Tucson", "Miami")]
    verdicts: list[Verdict] = []
    for number, prompt in enumerate(prompts):
        tools = embedded_toolbox.open(InterpretationCase(f"wrong {number}", prompt=prompt), Budget())
        rng = np.random.default_rng(number)
        donors = [p for p in prompts if p != prompt]
        claims: list[Claim] = []
        supernodes: list[Supernode] = []
        for place in range(N_WRONG // len(prompts)):
            donor = donors[int(rng.integers(len(donors)))]
            there = list(tools.trace(donor).node_of_feature)
            stand_in = there[int(rng.integers(len(there)))]
            city = tools.full.tokens.index("containing") + 1
            idle = _idle(tools)
            match place % 3:
                case 1 if idle:
                    node = idle[int(rng.integers(len(idle)))]
                case 2:
                    node = _of_another_role(tools, rng, city)
                case _:
                    node = _silent(tools, rng, stand_in)
            wrong = supernode(tools, "wrong", [node])
            lent = [n for n in there if n.position == node.position and n.layer == node.layer] or [stand_in]
            if place % 3 == 2:
                lent = strongest_at(tools, donor, donor.split()[city - 1])
            supernodes.append(wrong)
            claims.append(swap(tools, wrong, donor, lent))
        verdicts += verdicts_on(tools, supernodes, claims)
    assert len(verdicts) == N_WRONG
    outcomes = [verdict.outcome for verdict in verdicts]
    rate = outcomes.count("supported") / N_WRONG
    with capsys.disabled():
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        print(f"\n{N_WRONG} random wrong claims: {counts}; wrongly supported {rate:.3f}")
    assert rate <= MAX_WRONGLY_SUPPORTED
    assert outcomes.count("untested") == 0


def _silent(tools: CaseTools, rng: np.random.Generator, like: FeatureNode) -> FeatureNode:
    """A random live feature that does not fire here, at a place where a donor's feature stands."""
    active = set(tools.active_features())
    pool = [int(f) for f in tools.live(like.layer) if FeatureNode(like.layer, like.position, int(f)) not in active]
    return FeatureNode(like.layer, like.position, pool[int(rng.integers(len(pool)))])


def _idle(tools: CaseTools) -> list[FeatureNode]:
    """Features that fire here, but carry less than a hundredth of the influence."""
    influence = node_influence(tools.full)
    return [node for node, index in tools.full.node_of_feature.items() if influence[index] < 0.01]


def _of_another_role(tools: CaseTools, rng: np.random.Generator, city: int) -> FeatureNode:
    """A random influential feature that stands neither on the city nor on the last word."""
    influence = node_influence(tools.full)
    elsewhere = [n for n in tools.full.node_of_feature if n.position not in (city, tools.full.n_pos - 1)]
    strong = sorted(elsewhere, key=lambda n: -influence[tools.full.node_of_feature[n]])[:3]
    return strong[int(rng.integers(len(strong)))]
