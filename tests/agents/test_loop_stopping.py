"""Why the loop stops: every reason, which goes before which, and what counts as new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.agent import Findings, Proposal, Revision
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim, EdgeClaim, FeatureAt, NecessityClaim, SteeringClaim, SufficiencyClaim
from tracescribe.agents.findings import CircuitEffect, FeatureLabel, Outcome, Supernode, Verdict
from tracescribe.agents.loop import LoopAgent, LoopSettings
from tracescribe.agents.offline import OfflineProposer
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.stopping import COMPLETE_SUFFICIENCY, needed_supernodes, new_claims, stop_before_revision
from tracescribe.agents.survey import Survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import BudgetExceededError, InterventionError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


def circuit(sufficiency: float) -> CircuitEffect:
    return CircuitEffect(
        target="a",
        foil="b",
        n_features=3,
        n_active=9,
        sufficiency=sufficiency,
        necessity=1.0,
        logit_difference=2.0,
        logit_difference_empty=0.0,
    )


def verdicts(*outcomes: Outcome) -> tuple[Verdict, ...]:
    return tuple(Verdict(claim_id=f"c{n}", outcome=outcome, reason="x") for n, outcome in enumerate(outcomes))


def reason(**changes: Any) -> str | None:
    given: dict[str, Any] = {
        "untestable": None,
        "cut_short": None,
        "circuit": circuit(1.0),
        "came_back": verdicts("supported"),
        "rounds": 1,
        "max_rounds": 3,
    }
    stopped = stop_before_revision(**(given | changes))
    assert stopped is None or stopped.rounds == (given | changes)["rounds"]
    return stopped.reason if stopped is not None else None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "complete"),
        ({"circuit": circuit(COMPLETE_SUFFICIENCY)}, "complete"),
        ({"circuit": circuit(COMPLETE_SUFFICIENCY - 0.01)}, None),
        ({"circuit": None}, None),
        ({"came_back": verdicts("supported", "refuted")}, None),
        ({"came_back": verdicts("supported", "inconclusive")}, None),
        ({"came_back": verdicts("supported", "untested")}, "complete"),
        ({"came_back": verdicts("untested")}, None),
        ({"came_back": ()}, None),
        ({"circuit": None, "rounds": 3}, "round limit"),
        ({"circuit": None, "rounds": 0, "max_rounds": 0}, "round limit"),
        ({"rounds": 3}, "complete"),
        ({"cut_short": "x", "rounds": 3}, "budget"),
        ({"untestable": "x", "cut_short": "x", "rounds": 3}, "untestable"),
    ],
)
def test_the_rules_in_their_order(changes: dict[str, Any], expected: str | None) -> None:
    assert reason(**changes) == expected


# -- what is new ----------------------------------------------------------------------------------------------------------


def group(number: int, *features: int) -> Supernode:
    members = tuple(FeatureAt(layer=0, position=1, feature=f) for f in features)
    return Supernode(supernode_id=f"s{number}", label="x", role="other", members=members)


GROUPS = (group(1, 5, 6), group(2, 6, 5), group(3, 7))


def necessity(number: int, supernode: str, **terms: Any) -> NecessityClaim:
    return NecessityClaim(
        claim_id=f"c{number}", statement=f"no {number}", supernode=supernode, target_token="a", **terms
    )


@pytest.mark.parametrize(
    ("claim", "known", "is_new"),
    [
        (necessity(2, "s1"), necessity(1, "s1"), False),
        (necessity(2, "s2"), necessity(1, "s1"), False),  # another id and order, the same members
        (necessity(2, "s3"), necessity(1, "s1"), True),
        (necessity(2, "s1", min_effect=2.0), necessity(1, "s1"), True),
        (
            EdgeClaim(claim_id="c2", statement="x", source="s2", destination="s3"),
            EdgeClaim(claim_id="c1", statement="y", source="s1", destination="s3"),
            False,
        ),
        (
            EdgeClaim(claim_id="c2", statement="x", source="s3", destination="s1"),
            EdgeClaim(claim_id="c1", statement="x", source="s1", destination="s3"),
            True,
        ),
        (
            SufficiencyClaim(claim_id="c2", statement="x", supernodes=("s3", "s2"), target_token="a"),
            SufficiencyClaim(claim_id="c1", statement="x", supernodes=("s1", "s3"), target_token="a"),
            False,
        ),
        (
            SteeringClaim(
                claim_id="c2", statement="x", supernode="s1", multiplier=2.0, expected_token="a", direction="up"
            ),
            necessity(1, "s1"),
            True,
        ),
    ],
)
def test_claims_are_the_same_if_they_would_be_tested_alike(claim: Claim, known: Claim, is_new: bool) -> None:
    fresh, repeated = new_claims([claim], [known], GROUPS)
    assert (fresh, repeated) == (((claim,), ()) if is_new else ((), (claim,)))


def test_a_claim_that_is_proposed_twice_at_once_is_new_once() -> None:
    first, second = necessity(1, "s1"), necessity(2, "s2")
    assert new_claims([first, second], [], GROUPS) == ((first,), (second,))


def test_supernodes_that_only_repeated_claims_name_are_left_out() -> None:
    assert needed_supernodes(GROUPS, [necessity(1, "s1")], [necessity(2, "s2"), necessity(3, "s1")]) == (
        GROUPS[0],
        GROUPS[2],
    )


# -- in the loop ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bold(OfflineProposer):
    """One claim that comes back refuted; then whatever `answer` says."""

    answer: str = "nothing"

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        return Proposal((self._claim(tools, survey, supernodes, 50.0),))

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        if self.answer == "nothing":
            return Revision()
        if self.answer == "budget":
            raise BudgetExceededError("no money")
        if self.answer == "failure":
            raise InterventionError("no idea")
        bolder = 50.0 + (findings.rounds + 1 if self.answer == "bolder" else 0)
        return Revision((), (self._claim(tools, survey, findings.supernodes, bolder),))

    def _claim(self, tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], nats: float) -> Claim:
        return NecessityClaim(
            claim_id=tools.new_claim_id(),
            statement="bold",
            supernode=supernodes[0].supernode_id,
            target_token=survey.target_token,
            min_effect=nats,
        )


def interpret(toolbox: Toolbox, answer: str, budget: Budget | None = None) -> CircuitReport:
    case = InterpretationCase("dallas", prompt=DALLAS)
    report = LoopAgent(Bold(answer=answer), LoopSettings(max_rounds=2)).interpret(case, toolbox, budget or Budget())
    validate_report(report)
    assert report.stopped is not None
    return report


@pytest.mark.parametrize(
    ("answer", "stopped", "detail", "rounds", "claims"),
    [
        ("nothing", "nothing new", "no claim was proposed", 0, 1),
        ("the same", "nothing new", "all 1 claims proposed were tested before", 0, 1),
        ("failure", "nothing new", "the revision failed: no idea", 0, 1),
        ("budget", "budget", "no money", 0, 1),
        ("bolder", "round limit", "2 of 2 rounds", 2, 3),
    ],
)
def test_the_report_says_why_it_stopped(
    embedded_toolbox: Toolbox, answer: str, stopped: str, detail: str, rounds: int, claims: int
) -> None:
    report = interpret(embedded_toolbox, answer)
    assert report.stopped is not None
    assert (report.stopped.reason, report.stopped.rounds) == (stopped, rounds)
    assert detail in report.stopped.detail
    assert len(report.claims) == claims
    assert [failure.error for failure in report.failures] == (["no idea"] if answer == "failure" else [])
    assert report.cut_short == ("no money" if answer == "budget" else None)


def test_a_budget_that_ends_testing_ends_revising(embedded_toolbox: Toolbox) -> None:
    report = interpret(embedded_toolbox, "bolder", Budget(experiments=0))
    assert report.stopped is not None and report.stopped.reason == "budget"
    assert report.stopped.detail == report.cut_short


def test_without_weights_nothing_is_revised(embedded_toolbox: Toolbox) -> None:
    from tracescribe.tracer.attribution import attribute

    model, transcoders = embedded_toolbox.model, embedded_toolbox.transcoders
    assert model is not None and transcoders is not None
    case = InterpretationCase("dallas", graph=attribute(model, transcoders, DALLAS))
    bare = replace(embedded_toolbox, model=None, transcoders=None, evidence=None, features=None)
    report = LoopAgent(Bold(answer="bolder")).interpret(case, bare, Budget())
    assert report.stopped is not None and report.stopped.reason == "untestable"
    assert report.stopped.detail == "no model weights: the graph was imported alone"
