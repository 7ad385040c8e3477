"""The judge before claims whose truth is known: quick versions of `tracescribe bench judge`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.agents.fake_server import Question as Asked
from tests.agents.fake_server import Reply, good, serving
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import CLAIM_KINDS
from tracescribe.agents.llm.agent import LlmAgentSettings, make_llm_agent
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.evals.judging.bench import JudgeBench, JudgeBenchRun, JudgeBenchSettings, prepare
from tracescribe.evals.judging.corpus_truth import area_of
from tracescribe.evals.judging.judging import judge_sheet
from tracescribe.evals.judging.known_prompts import KnownPrompt
from tracescribe.evals.judging.plant import Planter
from tracescribe.evals.judging.rates import JudgedClaim
from tracescribe.evals.scripted.adversary import Adversary
from tracescribe.evals.scripted.agent import scripted_agent
from tracescribe.evals.scripted.client import Question
from tracescribe.tracer.statistics import roc_auc

N_FALSE = 60
ALPHA = 0.05
CAUSAL = tuple(kind for kind in CLAIM_KINDS if kind != "label")
FEW = Budget(experiments=3)
"""Enough where the verdicts are not the point."""
QUICK_LOOP = LoopSettings(experiments=ExperimentSettings(n_controls=50))


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox()


@pytest.fixture(scope="module")
def prepared(toolbox: Toolbox) -> JudgeBenchRun:
    settings = replace(JudgeBenchSettings.quick(n=N_FALSE), model_prompts=1, null_reports=1)
    return prepare(settings, toolbox)


@pytest.fixture(scope="module")
def bench(prepared: JudgeBenchRun) -> JudgeBench:
    return prepared.run()


def test_no_false_claim_is_supported(bench: JudgeBench) -> None:
    """Not in its report, and not even where it is the only claim and nothing is corrected for."""
    planted = bench.of("registered", true=False)
    assert len(planted) >= N_FALSE
    assert {claim.kind for claim in planted} == set(CLAIM_KINDS)
    assert len({claim.prompt for claim in planted}) >= 6
    assert not bench.wrongly_supported, bench.wrongly_supported[:3]
    outcomes = {claim.outcome for claim in planted if claim.kind in CAUSAL}
    assert outcomes <= {"refuted", "inconclusive"}


def test_false_claims_are_about_active_features_that_matter(bench: JudgeBench) -> None:
    """Most are of sorts that name the features of the true circuit: nothing there is refuted for want of activity."""
    planted = [claim for claim in bench.of("registered", true=False) if claim.kind in CAUSAL]
    idle = [claim for claim in planted if "carry nothing" in claim.sort or "does not read" in claim.sort]
    assert len(idle) < len(planted) / 2
    assert len({claim.sort for claim in planted}) >= 8


def test_true_claims_are_supported(bench: JudgeBench) -> None:
    told = [claim for claim in bench.of("registered", "truthful", true=True) if claim.testable]
    supported = [claim for claim in told if claim.outcome == "supported"]
    missed = [(c.kind, c.prompt, c.reason) for c in told if c.outcome != "supported"]
    assert len(told) >= 50
    causal = [claim for claim in told if claim.kind in CAUSAL]
    assert sum(claim.outcome == "supported" for claim in causal) / len(causal) >= 0.95, missed
    # labels of rare features stay open: luck on few sentences must not support a label, true or not
    assert len(supported) / len(told) >= 0.9, missed
    assert not any(claim.outcome == "refuted" for claim in told)


def test_judge_and_truth_measure_the_same(bench: JudgeBench) -> None:
    """Two implementations, one definition: the tracer's interventions and the embedded model's own forward pass."""
    for claim in bench.claims:
        if claim.kind not in CAUSAL or claim.effect is None or claim.true_effect is None:
            continue
        if claim.kind == "swap":  # counts only as far as taking the supernode away has a part in it
            assert claim.effect <= claim.true_effect + 1e-3 or claim.true_effect < 0
        else:
            assert claim.effect == pytest.approx(claim.true_effect, abs=2e-3, rel=2e-3), claim


def test_the_adversary_gets_nothing_false_through(bench: JudgeBench) -> None:
    told = bench.of("adversary", true=False)
    assert len(told) >= 8
    assert not [claim for claim in told if claim.outcome == "supported"]


def test_nothing_is_found_where_there_is_nothing(bench: JudgeBench) -> None:
    """With every tested set exchanged for one of its controls, a report's false discovery rate keeps its level."""
    assert bench.exchanged.reports.n >= 400
    assert bench.exchanged.reports.count / bench.exchanged.reports.n <= ALPHA
    assert bench.exchanged.claims.high <= ALPHA
    assert bench.exchanged.without_threshold.low <= ALPHA
    assert 0 < bench.exchanged.small_p.low <= ALPHA  # ranks are spread out, so something could have been found
    assert not [claim for claim in bench.of("random", true=False) if claim.outcome == "supported"]


def test_with_the_gold_shuffled_true_claims_are_not_supported(prepared: JudgeBenchRun, toolbox: Toolbox) -> None:
    """The bench can fail: what is true of one prompt, said of another of its task, is not supported."""
    planter = Planter(None, prepared.words, prepared.teller.model.live)
    told: list[JudgedClaim] = []
    for number in (0, 1, 3):
        known = prepared.prompts[number]
        other = next(
            k for k in prepared.prompts if k.gold.family == known.gold.family and not shares_features(k, known)
        )
        shuffled = replace(known, variables=other.variables)
        sheet = planter.true_sheet(shuffled, per_kind=2)
        told += judge_sheet("registered", known, sheet, toolbox, QUICK_LOOP).claims
    causal = [claim for claim in told if claim.kind in CAUSAL]
    assert len(causal) >= 12
    assert sum(claim.outcome == "supported" for claim in causal) / len(causal) <= 0.1


def shares_features(first: KnownPrompt, second: KnownPrompt) -> bool:
    mine, theirs = ({n for v in known.variables for n in v.members} for known in (first, second))
    return bool(mine & theirs)


@pytest.fixture
def adversary_served() -> Iterator[str]:
    mind = Adversary(3)

    def script(asked: Asked) -> Reply:
        return good(mind.answer(Question.of(asked.schema_name, asked.user)))

    with serving(script) as server:
        yield server.url("openai")


def test_a_scripted_model_says_the_same_behind_a_server(
    prepared: JudgeBenchRun, toolbox: Toolbox, adversary_served: str
) -> None:
    case = InterpretationCase("known", prompt=prepared.prompts[0].prompt)
    provider = ProviderSettings.of(
        environment={}, provider="openai", model="adversary", base_url=adversary_served, max_attempts=1
    )
    settings = LlmAgentSettings(provider=provider, name="adversary", judge_labels=False)
    with make_llm_agent(settings, QUICK_LOOP, environment={}) as agent:
        served = agent.interpret(case, toolbox, FEW)
    here = scripted_agent("adversary", Adversary(3), QUICK_LOOP).interpret(case, toolbox, FEW)
    assert len(served.claims) > 5 and served.claims == here.claims
    assert outcomes(served) == outcomes(here)
    assert len(set(outcomes(served))) > 1


def outcomes(report: CircuitReport) -> list[str]:
    return [verdict.outcome for verdict in report.verdicts]


def test_an_area_is_the_usual_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.integers(0, 4, 30).astype(np.float32)
        truth = rng.random(30) < 0.4
        if truth.any() and not truth.all():
            assert area_of(values, truth) == pytest.approx(roc_auc(values, truth), abs=1e-9)


def test_the_adversary_answers_the_same_question_alike() -> None:
    data = {"groups": [{"id": f"s{i}", "role": random.Random(i).choice(["input", "output"])} for i in range(6)]}
    question = Question("SupernodesAnswer", data, "")
    assert Adversary(1).answer(question) == Adversary(1).answer(question)
    assert Adversary(1).answer(question) != Adversary(2).answer(question)
