"""What the page of a report shows beyond the static report: targets that link its parts, and verdicts in plain words.

Everything that both pages show comes from `agents.rendering.view.build_view`, so that they cannot disagree.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.claims import Claim, EdgeClaim, LabelClaim, supernodes_of
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.claim_words import OUTCOME_WORDS
from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.view import ReportView, build_view
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.runs.web.report_path import Link, strongest_path
from tracescribe.runs.web.report_words import supernode_names, verdict_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tracescribe.agents.findings import Outcome, Supernode
    from tracescribe.agents.rendering.claim_view import ClaimGroup, ClaimView
    from tracescribe.agents.rendering.evidence_view import EvidenceLookup, LabelView
    from tracescribe.agents.rendering.rows import Chip, Subject
    from tracescribe.agents.rendering.steps_view import StepView
    from tracescribe.agents.rendering.strip_plot import StripPlot
    from tracescribe.agents.rendering.view import LinkView, SentenceView
    from tracescribe.agents.report import CircuitReport

MOST_PLACES = 4
"""Tokens that are named of a supernode that stands at many."""
MANY_CLAIMS = 40
"""Beyond it the browser lays out only what is near the screen."""


@dataclass(frozen=True)
class Told:
    """A sentence of the story.

    Attributes:
        target: `sentence:3`; asides count on.
        about: targets of the supernodes and links that its claims speak of.
    """

    target: str
    text: str
    chips: tuple[Chip, ...]
    about: tuple[str, ...]
    asides: tuple[Told, ...] = ()


@dataclass(frozen=True)
class ShownClaim:
    """A claim with what the page adds to it.

    Attributes:
        words: the verdict in plain sentences.
        subjects: what it is about, as links.
        about: the same as targets, with the link that an edge claim is about.
        dots: the controls of its plot as one SVG path; empty without controls.
        values: effects of the controls as text, in the order of their dots.
        controls: how the controls are distributed, for the table behind the plot.
    """

    view: ClaimView
    target: str
    words: str
    subjects: tuple[Link, ...]
    about: tuple[str, ...]
    dots: str
    values: str
    controls: tuple[Row, ...]


@dataclass(frozen=True)
class ShownGroup:
    """Claims of one kind."""

    base: ClaimGroup
    claims: tuple[ShownClaim, ...]


@dataclass(frozen=True)
class ShownFeature:
    """A labelled feature; `review` is the target of acts on its label."""

    view: LabelView
    target: str
    review: str
    steps: tuple[Link, ...]


@dataclass(frozen=True)
class ShownStep:
    """A supernode as a row; members with their links, `target` empty for one without a label; `where` its tokens."""

    view: StepView
    target: str
    where: str
    members: tuple[tuple[Link, str], ...]


@dataclass(frozen=True)
class ShownLink:
    """A link of the circuit as a row."""

    view: LinkView
    target: str


@dataclass(frozen=True)
class ReportPage:
    """All that the template of the page shows.

    Attributes:
        path: the strongest way from the prompt to the answer, told in a line; empty where nothing leads to the answer.
        many: whether there are so many claims that those far off the screen are not laid out.
    """

    base: ReportView
    tokens: tuple[str, ...]
    facts: tuple[Row, ...]
    path: tuple[Link, ...]
    sentences: tuple[Told, ...]
    groups: tuple[ShownGroup, ...]
    features: tuple[ShownFeature, ...]
    steps: tuple[ShownStep, ...]
    links: tuple[ShownLink, ...]
    n_claims: int
    many: bool
    outcome_words: Mapping[Outcome, str]


def targets_of(claim: Claim) -> tuple[str, ...]:
    """The supernodes, links and features that a claim speaks of, as targets."""
    if isinstance(claim, LabelClaim):
        return (f"feature:{claim.layer}/{claim.feature}",)
    named = tuple(f"supernode:{node}" for node in supernodes_of(claim))
    return (f"edge:{claim.source}>{claim.destination}", *named) if isinstance(claim, EdgeClaim) else named


def target_of_anchor(anchor: str) -> str:
    """The target of a place on the static page, as its views name it."""
    kind, _, rest = anchor.partition("-")
    if kind == "step":
        return f"supernode:{rest}"
    if kind == "feature":
        return "feature:" + rest.replace("-", "/", 1)
    return anchor


def report_page(report: CircuitReport, evidence: EvidenceLookup | None = None) -> ReportPage:
    """Compute all that the page shows.

    Args:
        report: a valid report.
        evidence: where example contexts come from, if at hand.
    """
    base = build_view(report, None, evidence)
    places = {node.supernode_id: _where(node, report.tokens) for node in report.supernodes}
    return ReportPage(
        base=base,
        tokens=tuple(visible_token(token) for token in report.tokens) or (visible_text(report.prompt),),
        facts=_facts(report),
        path=strongest_path(report),
        sentences=_sentences(base.sentences, {claim.claim_id: targets_of(claim) for claim in report.claims}),
        groups=_groups(report, base),
        features=tuple(_feature(view) for view in base.labels),
        steps=tuple(_step(view, places.get(view.node, "")) for view in base.steps),
        links=_links(report, base),
        n_claims=len(report.claims),
        many=len(report.claims) > MANY_CLAIMS,
        outcome_words=OUTCOME_WORDS,
    )


def _facts(report: CircuitReport) -> tuple[Row, ...]:
    made = report.provenance
    return tuple(
        Row(name, visible_text(value))
        for name, value in (
            ("Model", made.model or numbers.NOT_KNOWN),
            ("Agent", made.agent),
            ("Seed", str(made.seed)),
            ("Report", report.report_id),
        )
    )


def _sentences(views: tuple[SentenceView, ...], about: Mapping[str, tuple[str, ...]]) -> tuple[Told, ...]:
    count = 0

    def told(view: SentenceView) -> Told:
        nonlocal count
        count += 1
        number = count
        named = dict.fromkeys(target for chip in view.chips for target in about[chip.claim_id])
        return Told(
            f"sentence:{number}", view.text, view.chips, tuple(named), tuple(told(aside) for aside in view.asides)
        )

    return tuple(told(view) for view in views)


def _groups(report: CircuitReport, base: ReportView) -> tuple[ShownGroup, ...]:
    claims = {claim.claim_id: claim for claim in report.claims}
    verdicts = {verdict.claim_id: verdict for verdict in report.verdicts}
    plans = {plan.claim_id: plan for plan in report.plans}
    measurements = {measurement.plan_id: measurement for measurement in report.measurements}
    names = supernode_names(report)

    def shown(view: ClaimView) -> ShownClaim:
        claim, plan = claims[view.claim_id], plans.get(view.claim_id)
        measurement = measurements.get(plan.plan_id) if plan is not None else None
        effects = measurement.control_effects if measurement is not None else ()
        return ShownClaim(
            view=view,
            target=f"claim:{view.claim_id}",
            words=verdict_words(claim, report, verdicts[view.claim_id], plan, measurement, names),
            subjects=tuple(_link(subject) for subject in view.subjects),
            about=targets_of(claim),
            dots=dots_of(view.plot),
            values=values_of(view.plot),
            controls=_distribution([value for value in effects if math.isfinite(value)]),
        )

    return tuple(ShownGroup(group, tuple(shown(view) for view in group.claims)) for group in base.groups)


def _link(subject: Subject) -> Link:
    return Link(target_of_anchor(subject.anchor), subject.text)


def dots_of(plot: StripPlot | None) -> str:
    """All dots as one path of zero-length strokes: hundreds of claims with hundreds of controls stay light."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in plot.dots) if plot is not None else ""


def values_of(plot: StripPlot | None) -> str:
    """Effects of the controls in the order of their dots, for reading single values off the picture."""
    return " ".join(f"{value:.4g}" for value in plot.values) if plot is not None else ""


def _distribution(effects: list[float]) -> tuple[Row, ...]:
    if not effects:
        return ()
    ranked = sorted(effects)

    def at(share: float) -> float:
        return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]

    return (
        Row("controls", numbers.count(len(ranked))),
        Row("smallest", numbers.effect(ranked[0])),
        Row("a quarter is below", numbers.effect(at(0.25))),
        Row("half are below", numbers.effect(statistics.median(ranked))),
        Row("three quarters are below", numbers.effect(at(0.75))),
        Row("95 of 100 are below", numbers.effect(at(0.95))),
        Row("largest", numbers.effect(ranked[-1])),
    )


def _feature(view: LabelView) -> ShownFeature:
    target = target_of_anchor(view.anchor)
    steps = tuple(_link(subject) for subject in view.steps)
    return ShownFeature(view, target, target.replace("feature:", "label:", 1), steps)


def _where(supernode: Supernode, tokens: Sequence[str]) -> str:
    """The tokens at which a supernode's members stand, each once, in the prompt's order."""
    places = sorted({member.position for member in supernode.members})
    told = [f"“{visible_token(tokens[place])}”" if 0 <= place < len(tokens) else f"token {place}" for place in places]
    more = [f"{len(told) - MOST_PLACES} more"] if len(told) > MOST_PLACES else []
    return ", ".join([*told[:MOST_PLACES], *more])


def _step(view: StepView, where: str) -> ShownStep:
    members = tuple(
        (Link(target_of_anchor(member.anchor) if member.anchor else "", member.name), member.label)
        for member in view.members
    )
    return ShownStep(view, f"supernode:{view.node}", where, members)


def _links(report: CircuitReport, base: ReportView) -> tuple[ShownLink, ...]:
    ranked = sorted(report.edges, key=lambda edge: (-abs(edge.weight), edge.source, edge.destination))
    return tuple(
        ShownLink(view, f"edge:{edge.source}>{edge.destination}") for view, edge in zip(base.links, ranked, strict=True)
    )
