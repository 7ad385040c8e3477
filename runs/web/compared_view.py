"""Opens two reports and says how they compare: for the API, and with everything in words for the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.rendering import numbers
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.member_map import MemberMap, member_map
from tracescribe.runs.web.report_pair import compare_pair
from tracescribe.runs.web.report_pair_told import ComparedReports, CostTold, ReportTold
from tracescribe.runs.web.report_reading import open_case_report

if TYPE_CHECKING:
    from tracescribe.agents.findings import Outcome
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.access.roles import Principal
    from tracescribe.runs.web.context import WebContext


@dataclass(frozen=True)
class FactRow:
    """One line of the table of both reports' figures; `name` says what, `a` and `b` are texts."""

    name: str
    a: str
    b: str


def compared(context: WebContext, visitor: Principal, a: str, b: str) -> tuple[ComparedReports, MemberMap | None]:
    """Two reports by their case ids; that both are opened is in the audit log.

    Returns:
        The comparison, and the map of their features where they are about the same ones.

    Raises:
        Refusal: they are one report, or on different prompts.
        UnknownIdError: there is no such report.
    """
    if a == b:
        raise Refusal(422, "one report", "both sides are the same report; choose another one on the same prompt")
    first, second = (open_case_report(context, visitor, case_id) for case_id in (a, b))
    if first.report.prompt != second.report.prompt:
        raise Refusal(
            422,
            "different prompts",
            "the reports are on different prompts, so their circuits cannot be held against each other; "
            "choose two reports on one prompt",
        )
    pair = compare_pair(first.report, second.report)
    told = ComparedReports(
        prompt=first.report.prompt,
        answer=max(first.report.targets, key=lambda one: one.probability).token if first.report.targets else None,
        a=_told(a, first.report),
        b=_told(b, second.report),
        pair=pair,
    )
    return told, member_map(first.report, second.report) if pair.same_features else None


def fact_rows(told: ComparedReports) -> tuple[FactRow, ...]:
    """Figures of both, in words."""

    def row(name: str, one: object, other: object) -> FactRow:
        return FactRow(name, str(one), str(other))

    a, b = told.a, told.b
    rows = [
        row("Model", a.model or "not known", b.model or "not known"),
        row("Supernodes that stand", a.supernodes, b.supernodes),
        row("Features in them", a.features, b.features),
        row("Influence that no feature explains", *(numbers.percent(one.error_influence) for one in (a, b))),
        row("Features' influence left out", *(numbers.percent(one.influence_left_out) for one in (a, b))),
        row("Experiments", *(numbers.count(one.cost.experiments) for one in (a, b))),
        row("Forward passes", *(numbers.count(one.cost.forward_passes) for one in (a, b))),
        row("Seconds", *(numbers.number(one.cost.seconds) for one in (a, b))),
    ]
    if a.cost.llm_calls or b.cost.llm_calls:
        rows += [
            row("Calls of a language model", *(numbers.count(one.cost.llm_calls) for one in (a, b))),
            row("Tokens of it", *(numbers.count(one.cost.tokens) for one in (a, b))),
            row("US$", *(numbers.number(one.cost.usd) for one in (a, b))),
        ]
    if a.cut_short or b.cut_short:
        rows.append(row("Cut short", a.cut_short or "no", b.cut_short or "no"))
    return tuple(rows)


def _told(case_id: str, report: CircuitReport) -> ReportTold:
    standing = [node for node in report.supernodes if not node.rejected]
    outcomes: dict[Outcome, int] = Counter(verdict.outcome for verdict in report.verdicts)
    cost = report.cost
    return ReportTold(
        case_id=case_id,
        agent=report.provenance.agent,
        model=report.provenance.model,
        tested=report.tested,
        cut_short=report.cut_short,
        outcomes=outcomes,
        supernodes=len(standing),
        features=len({(m.layer, m.position, m.feature) for node in standing for m in node.members}),
        error_influence=report.unexplained.error_influence,
        influence_left_out=report.unexplained.influence_left_out,
        cost=CostTold(
            seconds=cost.seconds,
            experiments=cost.experiments,
            forward_passes=cost.forward_passes,
            llm_calls=cost.llm_calls,
            tokens=cost.input_tokens + cost.output_tokens,
            usd=cost.usd,
        ),
    )
