"""The section about a review in a report's page: who, when, what was decided and changed, and everything that was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.rendering.templating import visible_environment
from tracescribe.runs.review.act_words import named, words_of

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.review.states import ReviewState

MAX_ACTS = 2_000
"""Acts that the page tells, the last ones; the store has them all."""
_PACKAGE = "tracescribe.runs.review"
_LINK = '<li><a href="#review">Review</a></li>'


@dataclass(frozen=True)
class Change:
    """One thing that is other than in the report. `before` is empty where the report does not have it."""

    what: str
    before: str
    after: str


def with_review(page: str, report: CircuitReport, state: ReviewState) -> str:
    """A report's page with a section about a review as its first.

    Args:
        page: made by `agents.rendering`.
        report: that the page shows.
        state: what the review of it comes to.
    """
    told = state.history[-MAX_ACTS:]
    section = (
        visible_environment(_PACKAGE)
        .get_template("review_section.html")
        .render(
            state=state,
            people=list(dict.fromkeys((state.reviewer, *(done.actor for done in state.history)))),
            began=state.history[0].at if state.history else "",
            ended=state.history[-1].at if state.history else "",
            changes=changes_of(report, state),
            regrouped=any(one.changed and one.label_before is not None for one in state.supernodes),
            decisions=_decisions(state),
            comments=[(named(one.target, state), one) for one in state.comments],
            acts=[(done, words_of(done.act, state)) for done in told],
            left_out=len(state.history) - len(told),
        )
    )
    style = visible_environment(_PACKAGE).get_template("review_section.css").render()
    page = page.replace("</style>", f"{style}\n</style>", 1)
    page = page.replace('<li><a href="#story">', f'{_LINK}<li><a href="#story">', 1)
    head, opening, rest = page.partition('<main class="wide">')
    return f"{head}{opening}\n{section}{rest}"


def changes_of(report: CircuitReport, state: ReviewState) -> list[Change]:
    """What of the circuit the review has otherwise than the report."""
    changes: list[Change] = []
    for one in state.supernodes:
        what = f"supernode {one.supernode_id}"
        if one.label_before is None:
            if not one.gone:
                changes.append(Change(what, "", f"{one.label} ({one.role}): {', '.join(one.members)}"))
            continue
        if one.gone:
            changes.append(Change(what, f"{one.label_before}: {', '.join(one.members_before)}", "gone"))
            continue
        if one.label != one.label_before:
            changes.append(Change(f"{what}, label", one.label_before, one.label))
        if one.role != one.role_before:
            changes.append(Change(f"{what}, role", one.role_before or "", one.role))
        if one.members != one.members_before:
            changes.append(Change(f"{what}, members", ", ".join(one.members_before), ", ".join(one.members)))
    for label in state.labels:
        if label.text != label.text_before:
            changes.append(Change(f"feature {label.layer}/{label.feature}", label.text_before or "", label.text))
    changes += _links(report, state)
    if state.undecided:
        changes.append(Change("nobody can tell whether they matter", "", ", ".join(state.undecided)))
    return changes


def _links(report: CircuitReport, state: ReviewState) -> list[Change]:
    """Links with another sign or weight, links that the report does not have, and links that hold no longer."""
    verbs = {1: "excites", -1: "inhibits"}
    changes = []
    for edge in state.edges:
        what = named(f"edge:{edge.source}>{edge.destination}", state)
        before = "" if edge.weight_before is None else _weighed(edge.weight_before)
        if edge.stale:
            changes.append(Change(what, before, "not known for the members as they are now"))
        elif edge.origin == "graph" and edge.weight is not None:
            said = f"; the reviewer: {verbs[edge.sign]}" if edge.sign != edge.sign_before else ""
            changes.append(Change(what, before, f"{_weighed(edge.weight)}, by the graph{said}"))
        elif edge.sign != edge.sign_before:
            changes.append(Change(what, before, verbs[edge.sign]))
    told = {(edge.source, edge.destination) for edge in state.edges}
    for one in report.edges:
        if (one.source, one.destination) not in told:
            what = named(f"edge:{one.source}>{one.destination}", state)
            changes.append(Change(what, _weighed(one.weight), "no longer: too weak for the members as they are now"))
    return changes


def _weighed(weight: float) -> str:
    return f"{'excites' if weight > 0 else 'inhibits'}, {weight:+.3g}"


def _decisions(state: ReviewState) -> list[tuple[str, list[str], list[str]]]:
    """Kinds of things, with the names of those that were accepted and rejected."""
    kinds: list[tuple[str, list[tuple[str, str]]]] = [
        ("Supernodes", [(f"supernode:{one.supernode_id}", one.decision) for one in state.supernodes if not one.gone]),
        ("Feature labels", [(f"label:{one.layer}/{one.feature}", one.decision) for one in state.labels]),
        ("Links", [(f"edge:{one.source}>{one.destination}", one.decision) for one in state.edges]),
        ("Claims", [(f"claim:{one.claim_id}", one.decision) for one in state.claims]),
    ]
    rows = []
    for name, judged in kinds:
        by: dict[str, list[str]] = {"accepted": [], "rejected": []}
        for target, decision in judged:
            if decision in by:
                by[decision].append(named(target, state))
        rows.append((name, by["accepted"], by["rejected"]))
    return rows
