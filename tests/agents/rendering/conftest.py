"""Reports to render: a realistic one, one with no experiments, and one whose every text is hostile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pytest

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    FeatureAt,
    LabelClaim,
    NecessityClaim,
    Predicate,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
    claim_sha256,
)
from tracescribe.agents.findings import (
    BEYOND_CONTROLS,
    CircuitEffect,
    Controls,
    DetectionScore,
    DosePoint,
    ExperimentPlan,
    FeatureLabel,
    Interval,
    JudgedScore,
    Measurement,
    ParaphraseEffect,
    Role,
    Supernode,
    SupernodeEdge,
    SupernodeQuality,
    TokenChange,
)
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.report import (
    CircuitReport,
    Cost,
    Provenance,
    Sentence,
    StepFailure,
    Stopped,
    TargetLogit,
    Unexplained,
    validate_report,
)
from tracescribe.agents.reporting.assembly import mark_rejected
from tracescribe.agents.reporting.report_seal import sealed
from tracescribe.agents.reporting.story import tell_story
from tracescribe.agents.testing.decision_rules import metric_of, rule_for
from tracescribe.agents.testing.swap_summary import swap_summaries
from tracescribe.agents.testing.verdicts import judge
from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.statistics import rank_p_value

TOKENS = ("<bos>", "the", "capital", "of", "the", "state", "containing", "Dallas", "is")
HASH = "3f" * 32

ReportMaker = Callable[..., CircuitReport]


class Store:
    """Evidence by feature; unknown features raise as the real store does."""

    def __init__(self, features: Mapping[FeatureRef, FeatureEvidence]) -> None:
        self._features = features

    def feature(self, ref: FeatureRef) -> FeatureEvidence:
        """The evidence of one feature."""
        if ref not in self._features:
            raise UnknownIdError(f"feature {ref} is not in the evidence")
        return self._features[ref]


def _at(layer: int, position: int, feature: int) -> FeatureAt:
    return FeatureAt(layer=layer, position=position, feature=feature)


def _supernode(number: int, label: str, role: Role, members: Sequence[FeatureAt], influence: float) -> Supernode:
    return Supernode(supernode_id=f"s{number}", label=label, role=role, members=tuple(members), influence=influence)


QUALITY = SupernodeQuality(
    agreement=0.81, random_agreement=0.22, agreement_p=0.01, effect=3.82, random_effect=0.06, effect_p=0.01, n_random=99
)
SUPERNODES = (
    _supernode(0, "capital", "relation", [_at(0, 2, 31), _at(1, 2, 77)], 0.14),
    _supernode(1, "Dallas", "input", [_at(0, 7, 12)], 0.09),
    _supernode(2, "Texas", "intermediate", [_at(1, 7, 201), _at(1, 7, 44), _at(2, 7, 8)], 0.31).model_copy(
        update={"quality": QUALITY}
    ),
    _supernode(3, "state", "relation", [_at(0, 5, 90)], 0.05),
    _supernode(4, "say a capital", "output", [_at(2, 8, 150)], 0.12),
    _supernode(5, "say Austin", "output", [_at(3, 8, 5), _at(3, 8, 6)], 0.22),
    _supernode(6, "say Houston", "suppressor", [_at(3, 8, 61)], 0.04),
)
EDGES = (
    ("E_17_2", "s0", 1.92),
    ("E_90_7", "s1", 2.41),
    ("E_90_7", "s2", 1.12),
    ("E_21_5", "s3", 0.8),
    ("s1", "s2", 3.3),
    ("s0", "s4", 1.7),
    ("s3", "s4", 0.4),
    ("s2", "s5", 4.12),
    ("s4", "s5", 1.31),
    ("s2", "s6", 0.9),
    ("s5", "5_40_8", 6.2),
    ("s4", "5_40_8", 0.7),
    ("s6", "5_40_8", -1.6),
    ("s6", "5_51_8", 0.5),
)


def _claims() -> tuple[Claim, ...]:
    donor = "the capital of the state containing Oakland is"
    return (
        NecessityClaim(
            claim_id="c0",
            statement="Without 'Texas' the answer 'Austin' is lost.",
            supernode="s2",
            target_token="Austin",
        ),
        SwapClaim(
            claim_id="c1",
            statement="Putting Oakland's features in the place of 'Texas' gives Sacramento.",
            supernode="s2",
            donor_prompt=donor,
            donor_features=(_at(1, 7, 18), _at(2, 7, 9)),
            expected_token="Sacramento",
        ),
        SwapClaim(
            claim_id="c2",
            statement="Putting Akron's features in the place of 'Dallas' gives Columbus.",
            supernode="s1",
            donor_prompt="the capital of the state containing Akron is",
            donor_features=(_at(0, 7, 19),),
            expected_token="Columbus",
        ),
        NecessityClaim(
            claim_id="c3", statement="Without 'state' the answer is lost.", supernode="s3", target_token="Austin"
        ),
        NecessityClaim(
            claim_id="c4", statement="Without 'capital' the answer is lost.", supernode="s0", target_token="Austin"
        ),
        EdgeClaim(claim_id="c5", statement="'Texas' feeds 'say Austin'.", source="s2", destination="s5"),
        EdgeClaim(claim_id="c6", statement="'Dallas' feeds 'Texas'.", source="s1", destination="s2"),
        SufficiencyClaim(
            claim_id="c7",
            statement="The drawn steps alone keep the answer.",
            supernodes=("s0", "s1", "s2", "s4", "s5"),
            target_token="Austin",
        ),
        SteeringClaim(
            claim_id="c8",
            statement="Doubling 'say Houston' makes 'Austin' less likely.",
            supernode="s6",
            multiplier=2.0,
            expected_token="Austin",
            direction="down",
        ),
        LabelClaim(
            claim_id="c9",
            statement="Feature 1/201 fires on cities of Texas.",
            layer=1,
            feature=201,
            predicate=Predicate(on="token", words=("Dallas", "Houston", "Laredo", "Texas")),
        ),
        LabelClaim(
            claim_id="c10",
            statement="Feature 3/5 fires where the model is about to say Austin.",
            layer=3,
            feature=5,
            predicate=Predicate(on="next", words=("Austin",)),
        ),
    )


METHODS: tuple[Literal["detection", "fuzzing"], ...] = ("detection", "fuzzing")
EFFECTS = {
    "c0": 3.82, "c1": 0.981, "c2": 0.114, "c3": 0.012, "c4": 1.1, "c5": 0.873,
    "c6": 0.11, "c7": 0.91, "c8": 0.9, "c9": 0.996, "c10": 0.991,
}  # fmt: skip
_PROBABILITIES = {
    "necessity": (0.973, 0.0213),
    "swap": (0.00042, 0.981),
    "steering": (0.973, 0.612),
    "sufficiency": (0.973, 0.885),
}
PARAPHRASES = ("what is the capital of the state containing Dallas", "Dallas lies in a state whose capital is")


def _plan(claim: Claim, n_controls: int) -> ExperimentPlan:
    metric, threshold = metric_of(claim)
    intervention = claim.kind != "label"
    return ExperimentPlan(
        plan_id=f"p-{claim.claim_id}",
        claim_id=claim.claim_id,
        claim_sha256=claim_sha256(claim),
        metric=metric,
        intervention={"edits": [{"layer": 1, "position": 7, "value": 0.0}]} if intervention else {},
        mode="open" if intervention else "none",
        freeze_attention=False,
        controls=Controls(n=n_controls, matched_on=("layer", "position", "amount"), seed=0, sha256=HASH),
        threshold=threshold,
        alpha=0.05,
        seed=0,
        hypothesis=claim.statement,
        rule=rule_for(claim, 0.05),
        doses=(1.0, 1.25, 1.5, 1.75) if claim.kind == "steering" else (),
        paraphrases=PARAPHRASES if claim.kind == "necessity" else (),
    )


def _token_change(claim: Claim) -> tuple[TokenChange, ...]:
    token = getattr(claim, "target_token", getattr(claim, "expected_token", None))
    if token is None:
        return ()
    before, after = _PROBABILITIES[claim.kind]
    return (
        TokenChange(
            token=token,
            probability_before=before,
            probability_after=after,
            logit_before=14.21 + math.log(before),
            logit_after=14.21 + math.log(after),
            rank_before=1 if before > 0.5 else 41,
            rank_after=1 if after > 0.5 else 3,
        ),
    )


def _interval(claim: Claim, effect: float) -> Interval:
    """Of labels: of the effect. Of interventions: of the effect less what controls do, which need not hold the effect."""
    if claim.kind == "label":
        return Interval(low=effect - 0.04, high=effect + 0.03, method="bootstrap over sentences")
    return Interval(low=effect - 0.04, high=effect - 0.02, method=BEYOND_CONTROLS)


def _measurement(claim: Claim, plan: ExperimentPlan, n_controls: int) -> Measurement:
    rng = np.random.default_rng([7, int(plan.claim_id[1:])])
    centre, spread = (0.5, 0.08) if plan.metric == "two_way_auc" else (0.01, 0.03 if plan.claim_id != "c8" else 0.6)
    effect = EFFECTS[plan.claim_id]
    before, after = _PROBABILITIES.get(claim.kind, (0.973, 0.973))
    details: dict[str, float | str | None] = {
        "probability_before": before,
        "probability_after": after,
        "top_token_after": "Sacramento",
    }
    if claim.kind == "edge":
        details = {"activation_before": 4.2, "activation_after": 4.2 * (1 - effect)}
    interval = Interval(low=effect - 0.5, high=effect + 0.25, method="bootstrap over wordings")
    return Measurement(
        plan_id=plan.plan_id,
        effect=effect,
        control_effects=tuple(float(v) for v in rng.normal(centre, spread, n_controls)),
        interval=_interval(claim, effect),
        details=details,
        changes=_token_change(claim),
        doses=tuple(
            DosePoint(multiplier=dose, effect=effect * (dose - 1) ** 1.5, probability=0.5) for dose in plan.doses
        ),
        paraphrases=tuple(
            ParaphraseEffect(
                prompt=prompt, effect=effect - 0.2 * at if at < 4 else None, why="" if at < 4 else "no such features"
            )
            for at, prompt in enumerate((*plan.paraphrases, *plan.paraphrases, "Dallas?") if plan.paraphrases else ())
        ),
        paraphrase_interval=interval if plan.paraphrases else None,
    )


def _circuit(supernodes: Sequence[Supernode], answer: str) -> CircuitEffect:
    rng = np.random.default_rng(5)
    sufficiency, necessity = rng.normal(0.2, 0.15, 99), rng.normal(0.05, 0.05, 99)
    n_features = len({member.node for s in supernodes if not s.rejected for member in s.members})
    return CircuitEffect(
        target=answer,
        foil="Houston",
        n_features=n_features,
        n_active=n_features + 31,
        sufficiency=0.912,
        necessity=0.974,
        random_sufficiency=tuple(float(v) for v in sufficiency),
        random_necessity=tuple(float(v) for v in necessity),
        sufficiency_p=rank_p_value(0.912, sufficiency).p_value,
        necessity_p=rank_p_value(0.974, necessity).p_value,
        logit_difference=6.21,
        logit_difference_empty=-0.3,
    )


def _judged(method: Literal["detection", "fuzzing"], judge: str) -> JudgedScore:
    return JudgedScore(
        method=method,
        judge=judge,
        balanced_accuracy=(19 / 20 + 26 / 30) / 2,
        interval=Interval(low=0.84, high=0.97, method="bootstrap over contexts"),
        n_positive=20,
        n_random=20,
        n_near_miss=10,
        right_positive=19,
        right_random=20,
        right_near_miss=6,
        n_failed=1,
    )


def _labels() -> tuple[FeatureLabel, ...]:
    score = DetectionScore(
        auc=0.996,
        f1=2 * 0.95 * 0.918 / (0.95 + 0.918),
        precision=0.95,
        recall=0.918,
        n_positive=212,
        n_negative=4021,
        interval=Interval(low=0.89, high=0.96, method="bootstrap over contexts"),
    )
    texas = Predicate(on="token", words=("Dallas", "Houston", "Laredo", "Texas"))
    judged = tuple(_judged(method, "gpt-x (detect_feature 1.0.0)") for method in METHODS)
    return (
        FeatureLabel(
            layer=1,
            feature=201,
            text="Texas",
            here="fires on Dallas, feeds what says Austin",
            predicate=texas,
            score=score,
            judged=judged,
            earlier=("any city", "a place"),
            proposed_by="offline",
        ),
        FeatureLabel(
            layer=3,
            feature=5,
            text="say Austin",
            reads="output",
            predicate=Predicate(on="next", words=("Austin",)),
            score=score,
            proposed_by="offline",
        ),
        FeatureLabel(layer=0, feature=12, text="Dallas", proposed_by="offline"),
    )


def make_report(
    *,
    tested: bool = True,
    supernodes: tuple[Supernode, ...] = SUPERNODES,
    edges: Sequence[tuple[str, str, float]] = EDGES,
    labels: tuple[FeatureLabel, ...] | None = None,
    claims: tuple[Claim, ...] | None = None,
    summary: Sequence[tuple[str, tuple[str, ...]]] | None = None,
    prompt: str = "the capital of the state containing Dallas is",
    tokens: tuple[str, ...] = TOKENS,
    answer: str = "Austin",
    n_controls: int = 199,
    notes: tuple[str, ...] = ("Attention is not explained.",),
    failures: tuple[StepFailure, ...] = (),
    cut_short: str | None = None,
) -> CircuitReport:
    """A report that obeys its contract; effects and controls are made up, verdicts follow by the real rule."""
    claims = _claims() if claims is None else claims
    registry = ClaimRegistry()
    for supernode in supernodes:
        registry.define(supernode)
    for claim in claims:
        registry.register(claim)
    plans = tuple(_plan(claim, n_controls) for claim in claims) if tested else ()
    measurements = tuple(_measurement(claim, plan, n_controls) for claim, plan in zip(claims, plans, strict=False))
    for plan, measurement in zip(plans, measurements, strict=True):
        registry.plan(plan)
        registry.measure(plan, measurement)
    untestable = {} if tested else {claim.claim_id: "the model's weights are not at hand" for claim in claims}
    verdicts = judge(claims, plans, measurements, untestable)
    supernodes = mark_rejected(supernodes, claims, verdicts)
    report = CircuitReport(
        report_id="r-0123456789ab",
        prompt=prompt,
        tokens=tokens,
        targets=(
            TargetLogit(node_id="5_40_8", token=answer, probability=0.9731),
            TargetLogit(node_id="5_51_8", token="Houston", probability=0.0127),
            TargetLogit(node_id="5_52_8", token="Sacramento", probability=0.00042),
        ),
        tested=bool(measurements),
        cut_short=cut_short,
        summary=(),
        labels=_labels() if labels is None else labels,
        supernodes=supernodes,
        edges=tuple(SupernodeEdge(source=s, destination=d, weight=w) for s, d, w in edges),
        claims=claims,
        plans=plans,
        measurements=measurements,
        verdicts=verdicts,
        registry=registry.entries,
        circuit=_circuit(supernodes, answer) if tested and supernodes else None,
        swaps=swap_summaries(claims, verdicts),
        stopped=Stopped(
            reason=("budget" if cut_short else "nothing new") if tested else "untestable",
            detail=(cut_short or "no claim was proposed") if tested else "no model weights",
            rounds=2 if tested else 0,
        ),
        unexplained=Unexplained(
            error_influence=0.0712,
            replacement_score=0.871,
            completeness_score=0.942,
            features_left_out=11,
            influence_left_out=0.183,
            notes=notes if tested else (*notes, "nothing was tested: no model weights"),
        ),
        failures=failures,
        cost=Cost(seconds=8.31, seconds_by_step={"trace": 1.2, "experiment": 5.4}, experiments=11, forward_passes=2411),
        provenance=Provenance(
            product_version="0.1.0",
            agent="offline",
            agent_settings={"n_controls": n_controls},
            seed=0,
            model="embedded",
            model_sha256=HASH,
            transcoder="embedded",
            transcoder_sha256=HASH,
            evidence_sha256=HASH,
            graph_sha256=HASH,
        ),
    )
    told = tell_story(report) if summary is None else tuple(Sentence(text=t, claims=ids) for t, ids in summary)
    report = sealed(report.model_copy(update={"summary": told}), registry)
    validate_report(report)
    return report


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "]]> --> </style></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "| pipe ` tick ``` [a](javascript:alert(1)) ![x](http://evil.example/x.png) https://evil.example www.evil.example",
    "שלום עולם \u202e evil \u2066 \u200b\x00\x1b[31m",
    "👩‍👩‍👧‍👦🎉 " * 12,
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 4,
    "中文标签非常长" * 14,
)


def _hostile(number: int) -> str:
    return HOSTILE[number % len(HOSTILE)]


@pytest.fixture(scope="session")
def hostile_texts() -> tuple[str, ...]:
    """The texts that the hostile report is made of."""
    return HOSTILE


@pytest.fixture(scope="session")
def report_maker() -> ReportMaker:
    """Makes reports that obey their contract, with chosen parts."""
    return make_report


@pytest.fixture(scope="session")
def dallas_report() -> CircuitReport:
    """A realistic report with every kind of claim and every verdict but 'untested'."""
    return make_report()


@pytest.fixture(scope="session")
def untested_report() -> CircuitReport:
    """The same circuit without any experiment, cut short, with a failed step."""
    failure = StepFailure(step="label", error="provider gave no answer")
    return make_report(tested=False, cut_short="the budget of 10 seconds is used up", failures=(failure,))


@pytest.fixture(scope="session")
def hostile_report() -> CircuitReport:
    """Forty supernodes in 20 layers, and every text that a stranger may choose is hostile."""
    tokens = tuple(_hostile(i) for i in range(24))
    roles: tuple[Role, ...] = ("input", "intermediate", "relation", "output", "suppressor", "other")
    rng = np.random.default_rng(3)
    supernodes = tuple(
        _supernode(
            i,
            _hostile(i),
            roles[i % 6],
            [_at(int(rng.integers(0, 20)), int(rng.choice([2, 7, 8, 23])), 100 * i + k) for k in range(3)],
            0.02,
        )
        for i in range(40)
    )
    edges = [(f"s{i}", f"s{j}", float(rng.normal())) for i in range(40) for j in range(40) if (i * 7 + j) % 11 == 0]
    edges += [(f"E_{i}_{i}", f"s{i}", 1.0) for i in range(24)] + [("s39", "5_40_8", -2.0), ("unknown", "s1", 1.0)]
    claims: tuple[Claim, ...] = tuple(
        SwapClaim(
            claim_id=f"c{i}",
            statement=_hostile(i),
            supernode=f"s{i}",
            donor_prompt=_hostile(i + 1),
            donor_features=(_at(1, 1, 1),),
            expected_token=_hostile(i + 2),
        )
        for i in range(10)
    )
    labels = tuple(
        FeatureLabel(
            layer=supernodes[i].members[0].layer,
            feature=supernodes[i].members[0].feature,
            text=_hostile(i),
            here=_hostile(i + 1),
            earlier=HOSTILE,
            judged=(_judged("detection", _hostile(i + 2)),),
            predicate=Predicate(on="previous", words=HOSTILE),
            proposed_by=_hostile(i),
        )
        for i in range(10)
    )
    return make_report(
        supernodes=supernodes,
        edges=[edge for edge in edges if edge[0] != edge[1]],
        labels=labels,
        claims=claims,
        summary=[(f"'{text}'", (f"c{i}",)) for i, text in enumerate(HOSTILE)],
        prompt=" ".join(HOSTILE),
        tokens=tokens,
        answer=_hostile(1),
        notes=HOSTILE,
        failures=tuple(StepFailure(step=text, error=text) for text in HOSTILE),
        cut_short=HOSTILE[0],
    )


def _evidence(
    ref: FeatureRef, contexts: Sequence[tuple[tuple[str, ...], tuple[float, ...]]], promoted: Sequence[str]
) -> FeatureEvidence:
    return FeatureEvidence(
        layer=ref.layer,
        feature=ref.feature,
        density=0.011,
        n_active=100,
        max_activation=max(max(values) for _, values in contexts),
        contexts=tuple(Context(f"s{i}", tokens, values, tokens, "top") for i, (tokens, values) in enumerate(contexts)),
        promoted=tuple(TokenEffect(i, token, 1.0 / (i + 1)) for i, token in enumerate(promoted)),
        suppressed=(),
    )


@pytest.fixture(scope="session")
def store() -> Store:
    """Evidence for one feature of the realistic report."""
    cities = ("Dallas", "Houston", "Laredo", "Texas", "Plano", "Lubbock")
    sentences = [("<bos>", *f"the capital of the state containing {city} is Austin".split()) for city in cities]
    values = [tuple(3.1 - 0.4 * i if token == cities[i] else 0.0 for token in s) for i, s in enumerate(sentences)]
    ref = FeatureRef(1, 201)
    return Store({ref: _evidence(ref, list(zip(sentences, values, strict=True)), ("Austin", "Houston"))})


@pytest.fixture(scope="session")
def hostile_store(hostile_report: CircuitReport) -> Store:
    """Evidence whose tokens are hostile."""
    contexts = [(HOSTILE * 5, tuple(float(i) for i in range(5 * len(HOSTILE))))]
    refs = [FeatureRef(label.layer, label.feature) for label in hostile_report.labels]
    return Store({ref: _evidence(ref, contexts, HOSTILE) for ref in refs})
