"""Feature labels with what speaks for them: detection on unseen contexts, and examples with the active tokens marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tracescribe.agents.claims import LabelClaim, Predicate
from tracescribe.agents.findings import DetectionScore, JudgedScore, Outcome
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.rows import Row, Subject
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.agents.report import CircuitReport
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence
from tracescribe.tracer.graph import FeatureRef

MAX_EXAMPLES = 4
"""Example contexts shown of a feature: enough to see what they share, few enough to read."""
MAX_EXAMPLE_TOKENS = 28
"""Tokens shown of a context, around its strongest token."""
ACTIVATION_STEPS = 4
"""Shades in which activations are drawn."""
MAX_PROMOTED = 6
MAX_WORDS = 12
"""Words of a predicate that are listed before the rest is counted."""


class EvidenceLookup(Protocol):
    """Where examples come from; `tracescribe.tracer.evidence_store.EvidenceStore` is one."""

    def feature(self, ref: FeatureRef, /) -> FeatureEvidence:
        """The evidence of one feature."""
        ...


@dataclass(frozen=True)
class ExampleToken:
    """A token of an example. `shade` is 0 (silent) to `ACTIVATION_STEPS`; `peak` marks the strongest token."""

    text: str
    shade: int
    peak: bool


@dataclass(frozen=True)
class Example:
    """A corpus context, cut to a window around the strongest token."""

    tokens: tuple[ExampleToken, ...]
    cut_before: bool
    cut_after: bool
    peak: str


@dataclass(frozen=True)
class LabelView:
    """A feature's label as shown."""

    anchor: str
    name: str
    text: str
    predicts: str
    score: DetectionScore | None
    score_words: str
    here: str
    judged: tuple[Row, ...]
    earlier: tuple[str, ...]
    proposed_by: str
    steps: tuple[Subject, ...]
    claim_id: str | None
    outcome: Outcome | None
    examples: tuple[Example, ...]
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]
    density: str | None


def feature_anchor(layer: int, feature: int) -> str:
    """The page anchor of a feature."""
    return f"feature-{layer}-{feature}"


def predicate_words(predicate: Predicate | None) -> str:
    """What a predicate says, in words."""
    if predicate is None:
        return "predicts nothing that code could check"
    shown = [f"“{visible_token(word)}”" for word in predicate.words[:MAX_WORDS]]
    if len(predicate.words) > MAX_WORDS:
        shown.append(f"{len(predicate.words) - MAX_WORDS} more words")
    words = " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
    if predicate.on == "token":
        return f"fires on {words}"
    if predicate.on == "next":
        return f"fires where the model is about to say {words}"
    return f"fires where {words} stands among the {predicate.window} tokens before"


def score_words(score: DetectionScore | None) -> str:
    """A detection score in words."""
    if score is None:
        return "not measured"
    text = f"AUC {numbers.number(score.auc)}, F1 {numbers.number(score.f1)}"
    if score.interval is not None:
        low, high = numbers.number(score.interval.low), numbers.number(score.interval.high)
        text += f" ({score.interval.level:.0%} interval {low} to {high})"
    return f"{text}; {numbers.count(score.n_positive)} firing, {numbers.count(score.n_negative)} silent tokens"


def judged_row(score: JudgedScore) -> Row:
    """How well a label's words tell unseen contexts apart: the score with its interval, and what was told right by kind."""
    low, high = numbers.number(score.interval.low), numbers.number(score.interval.high)
    kinds = (
        (score.right_positive, score.n_positive, "firing"),
        (score.right_random, score.n_random, "random"),
        (score.right_near_miss, score.n_near_miss, "near-miss"),
    )
    told = ", ".join(f"{right} of {n} {kind}" for right, n, kind in kinds if n)
    failed = f"; {score.n_failed} not judged" if score.n_failed else ""
    value = (
        f"{numbers.number(score.balanced_accuracy)} ({score.interval.level:.0%} interval {low} to {high}); right on {told} "
        f"contexts{failed}; judged by {visible_text(score.judge)}"
    )
    return Row(score.method, value)


def _window(activations: Sequence[float]) -> tuple[int, int]:
    """First and last-but-one token of the window around the strongest token."""
    peak = max(range(len(activations)), key=lambda i: activations[i])
    start = max(0, min(peak - MAX_EXAMPLE_TOKENS * 2 // 3, len(activations) - MAX_EXAMPLE_TOKENS))
    return start, min(len(activations), start + MAX_EXAMPLE_TOKENS)


def _example(context: Context, strongest: float) -> Example:
    start, stop = _window(context.activations)
    top = max(context.activations)
    tokens = tuple(
        ExampleToken(
            visible_token(context.tokens[i]),
            shade=min(ACTIVATION_STEPS, max(1, round(ACTIVATION_STEPS * value / strongest))) if value > 0 else 0,
            peak=value > 0 and value == top,
        )
        for i, value in enumerate(context.activations[start:stop], start)
    )
    return Example(tokens, start > 0, stop < len(context.activations), numbers.number(top))


def examples_of(contexts: Sequence[Context]) -> tuple[Example, ...]:
    """A few examples from the strongest to the weakest, evenly spread."""
    usable = [c for c in contexts if c.activations and len(c.activations) == len(c.tokens) and max(c.activations) > 0]
    usable.sort(key=lambda context: (-max(context.activations), context.context_id))
    if not usable:
        return ()
    strongest = max(usable[0].activations)
    if len(usable) > MAX_EXAMPLES:
        usable = [usable[round(i * (len(usable) - 1) / (MAX_EXAMPLES - 1))] for i in range(MAX_EXAMPLES)]
    return tuple(_example(context, strongest) for context in usable)


def _look_up(evidence: EvidenceLookup | None, ref: FeatureRef) -> FeatureEvidence | None:
    """Evidence of a feature; None where there is none, which a page shows as such."""
    if evidence is None:
        return None
    try:
        return evidence.feature(ref)
    except TracescribeError:
        return None


def _steps_by_feature(report: CircuitReport) -> dict[FeatureRef, list[Subject]]:
    """The supernodes that a feature is in at any token, in the report's order."""
    found: dict[FeatureRef, list[Subject]] = {}
    for supernode in report.supernodes:
        step = Subject(f"step-{supernode.supernode_id}", visible_text(supernode.label))
        for ref in {member.ref for member in supernode.members}:
            found.setdefault(ref, []).append(step)
    return found


def label_views(report: CircuitReport, evidence: EvidenceLookup | None) -> tuple[LabelView, ...]:
    """All labels of a report in layer order, with their evidence where a lookup is given."""
    claims = {(c.layer, c.feature): c.claim_id for c in report.claims if isinstance(c, LabelClaim)}
    outcomes: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    steps = _steps_by_feature(report)
    views: list[LabelView] = []
    for label in sorted(report.labels, key=lambda item: (item.layer, item.feature)):
        ref = FeatureRef(label.layer, label.feature)
        known = _look_up(evidence, ref)
        claim_id = claims.get((label.layer, label.feature))
        views.append(
            LabelView(
                anchor=feature_anchor(*ref),
                name=f"layer {label.layer}, feature {label.feature}",
                text=visible_text(label.text),
                predicts=predicate_words(label.predicate),
                score=label.score,
                score_words=score_words(label.score),
                here=visible_text(label.here),
                judged=tuple(judged_row(score) for score in label.judged),
                earlier=tuple(visible_text(text) for text in label.earlier),
                proposed_by=visible_text(label.proposed_by),
                steps=tuple(steps.get(ref, ())),
                claim_id=claim_id,
                outcome=outcomes.get(claim_id) if claim_id else None,
                examples=examples_of(known.contexts) if known else (),
                promoted=tuple(visible_token(e.token) for e in known.promoted[:MAX_PROMOTED] if e.effect > 0)
                if known
                else (),
                suppressed=tuple(visible_token(e.token) for e in known.suppressed[:MAX_PROMOTED] if e.effect < 0)
                if known
                else (),
                density=numbers.percent(known.density) if known else None,
            )
        )
    return tuple(views)
