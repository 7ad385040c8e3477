"""The comparison of two jobs for people and programs: terminal, Markdown, HTML, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tracescribe.runs import terminal
from tracescribe.runs.job_results.comparison import (
    ComparedCase,
    Comparison,
    MetricDifference,
    ReportDifferences,
)
from tracescribe.runs.job_results.figures import Gap, gap
from tracescribe.runs.job_results.folders import whole_folder, write_mark
from tracescribe.runs.job_results.markdown import cell, table, told
from tracescribe.runs.job_results.page import render
from tracescribe.runs.jobs.telling import NOTHING
from tracescribe.tracer.provenance import version

_CLASSES = {"better": "better", "worse": "worse", "too few": "unsure", "not told apart": "unsure"}
_METRIC_HEADS = ("score", "first", "second", "second − first", "better / worse / same", "p (Holm)", "the second is")


def comparison_lines(comparison: Comparison) -> list[str]:
    """What the comparison comes to, in sentences."""
    first, second = comparison.first, comparison.second
    lines = [
        f"{first.job_id} ({first.agent}), {second.job_id} ({second.agent}): {comparison.n_pairs:,} cases finished by both",
        *comparison.warnings,
    ]
    one, other = comparison.finished_by_one
    if one or other:
        lines.append(f"{one:,} cases only the first finished, {other:,} only the second")
    shown = [metric for metric in comparison.metrics if metric.name in comparison.shown]
    few = [f"{metric.title} ({metric.difference.n})" for metric in shown if metric.says == "too few"]
    if few:
        lines.append(
            f"too few prompts to tell the jobs apart in {', '.join(few)}: it takes {comparison.fewest_pairs} or more"
        )
    for metric in shown:
        if metric.says in ("better", "worse"):
            lines.append(f"the second is {metric.says} in {metric.title}: {_change(metric)}")
        elif metric.says == "not told apart" and metric.detectable is not None:
            lines.append(
                f"not told apart in {metric.title}: {_change(metric)}; differences of {metric.detectable:.3f} would "
                "have been seen four times in five"
            )
    return lines


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    lines = [f"# {cell(comparison.first.name)} against {cell(comparison.second.name)}", ""]
    lines += [*(f"- {cell(line)}" for line in comparison_lines(comparison)), ""]
    if comparison.metrics:
        shown = [one for one in comparison.metrics if one.name in comparison.shown]
        rest = [one for one in comparison.metrics if one.name not in comparison.shown]
        lines += ["## Scores", "", *table(_METRIC_HEADS, [_escaped(metric_row(one)) for one in shown]), ""]
        if rest:
            lines += ["### Further scores", "", *table(_METRIC_HEADS, [_escaped(metric_row(one)) for one in rest]), ""]
    for title, heads, rows in _tables(comparison):
        lines += [f"## {title}", "", *table(heads, [_escaped(row) for row in rows]), ""]
    return "\n".join(lines)


def comparison_page(comparison: Comparison) -> str:
    """The comparison as one HTML page without scripts."""
    shown = [one for one in comparison.metrics if one.name in comparison.shown]
    rest = [one for one in comparison.metrics if one.name not in comparison.shown]
    return render(
        "comparison.html",
        comparison=comparison,
        lines=comparison_lines(comparison),
        metrics=[(metric_row(one), _drawn(one, shown), _CLASSES.get(one.says, "")) for one in shown],
        further=[metric_row(one) for one in rest],
        heads=tuple(_headed(head) for head in _METRIC_HEADS),
        tables=_tables(comparison),
    )


def write_comparison(comparison: Comparison, out: Path, *, force: bool) -> None:
    """Write the comparison to a folder, which appears whole or not at all.

    Raises:
        OutputError: something else is in its place, or it cannot be written.
    """
    text = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_folder(out, force=force) as folder:
        for name, content in (
            ("comparison.md", comparison_markdown(comparison)),
            ("comparison.html", comparison_page(comparison)),
            ("comparison.json", text),
        ):
            (folder / name).write_bytes(content.encode("utf-8", "replace"))
        jobs = [comparison.first.job_id, comparison.second.job_id]
        write_mark(folder, jobs=jobs, parts=["comparison"], product=version(), files=4)


def show_comparison(comparison: Comparison, as_json: bool) -> None:
    """Print the comparison."""
    if as_json:
        terminal.print_json(comparison.as_json())
        return
    from rich.table import Table

    console = terminal.stdout()
    if not console.is_terminal:
        console.width = 160
    for line in comparison_lines(comparison):
        console.print(terminal.styled(terminal.one_line(line)), soft_wrap=True)
    shown = [one for one in comparison.metrics if one.name in comparison.shown]
    for title, heads, rows in (
        ("", _METRIC_HEADS, [metric_row(one) for one in shown]),
        *(one for one in _tables(comparison)),
    ):
        if not rows:
            continue
        if title:
            console.print()
            console.print(terminal.styled(title, "bold"))
        grid = Table(box=None, pad_edge=False, header_style="dim")
        for head in heads:
            grid.add_column(head, overflow="fold")
        for row in rows:
            grid.add_row(*(terminal.styled(terminal.one_line(value)) for value in row))
        console.print(grid)


def metric_row(one: MetricDifference) -> tuple[str, ...]:
    """A metric in words, in the order of the table's heads."""
    return (
        one.title + ("" if one.higher_is_better else " (lower is better)"),
        f"{one.first:.3f}",
        f"{one.second:.3f}",
        _change(one),
        f"{one.wins:,} / {one.losses:,} / {one.ties:,}",
        NOTHING if one.p_holm is None else "< 0.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}",
        one.says,
    )


def _change(one: MetricDifference) -> str:
    gap = one.difference
    if gap.n == 1:
        return f"{gap.value:+.3f} (n = 1)"
    return f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def _drawn(one: MetricDifference, shown: Sequence[MetricDifference]) -> Gap:
    ends = [abs(end) for metric in shown for end in (metric.difference.low, metric.difference.high)]
    return gap(one.difference.value, one.difference.low, one.difference.high, max(ends, default=1.0) or 1.0)


def _tables(comparison: Comparison) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Everything but the scores: title, heads, rows; those without rows are left out."""
    reports = comparison.reports
    sides = ("", "first", "second")
    ranked = next((one.title for one in comparison.metrics if one.name == comparison.ranked_by), "")
    case_heads = ("title", "seed", "first", "second", "difference", "cases")
    every: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            "Cost and time of the cases that both finished",
            (*sides, "second / first"),
            [
                (
                    one.name,
                    f"{one.first:.4g}",
                    f"{one.second:.4g}",
                    NOTHING if one.ratio is None else f"{one.ratio:.2f}",
                )
                for one in comparison.amounts
            ],
        ),
        ("Verdicts", ("outcome", "first", "second"), [(n, f"{a:,}", f"{b:,}") for n, a, b in comparison.verdicts]),
        ("How alike the reports are", ("measure", "value"), _likeness(reports)),
        (
            "Claims that both tested",
            ("first", "second", "claims"),
            [(a, b, f"{n:,}") for a, b, n in (reports.verdicts if reports else ())],
        ),
        (
            f"Verdicts that turned round ({reports.n_flipped if reports else 0})",
            ("title", "claim"),
            list(reports.flipped if reports else ()),
        ),
        (f"Largest differences in {ranked}", case_heads, [_case_row(one) for one in comparison.largest]),
        ("Finished by one alone", case_heads, [_case_row(one) for one in comparison.unfinished]),
        ("What differs in the specifications", ("field", "first", "second"), list(comparison.changed)),
    ]
    return [(title, heads, rows) for title, heads, rows in every if rows]


def _likeness(reports: ReportDifferences | None) -> list[tuple[str, ...]]:
    if reports is None or not reports.n_read:
        return []
    read = f"{reports.n_read:,} of {reports.n_pairs:,}"
    return [
        ("features of the circuits (Jaccard)", told(reports.features)),
        ("supernodes (Jaccard with the best partner)", told(reports.groups)),
        ("labels (Jaccard)", told(reports.labels)),
        ("pairs of reports read", read),
    ]


def _case_row(one: ComparedCase) -> tuple[str, ...]:
    apart = NOTHING if one.difference is None else f"{one.difference:+.3f}"
    return one.title, str(one.seed), one.first, one.second, apart, f"{one.first_id} {one.second_id}"


def _escaped(row: Sequence[str]) -> list[str]:
    return [cell(value) for value in row]


def _headed(head: str) -> str:
    return head if head.startswith("p ") else head[0].upper() + head[1:]
