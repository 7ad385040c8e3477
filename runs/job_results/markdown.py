"""The summary of a job as Markdown: no text of a prompt or an answer can end a cell, a line or a tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tracescribe.runs.job_results.summary import GroupScores, JobSummary, ListedCase, Mean, ScoreSummary
from tracescribe.runs.jobs.telling import NOTHING, counted, money, span


def summary_markdown(summary: JobSummary) -> str:
    """The summary as Markdown; the same summary gives the same text."""
    lines = [f"# {cell(summary.name)}", "", *_head(summary), ""]
    if summary.scores:
        shown = [summary.score(name) for name in summary.shown]
        lines += ["## Scores", "", *_scores(shown), ""]
        rest = [one for one in summary.scores if one.name not in summary.shown]
        lines += ["### Further scores", "", *_scores(rest), ""] if rest else []
        for title, groups in (("family", summary.families), ("tag", summary.tags)):
            if len(groups) > 1:
                lines += [f"### By {title}", "", *_groups(summary, title, groups), ""]
    if summary.verdicts:
        lines += ["## Verdicts", "", *table(("outcome", "claims"), _counts(summary.verdicts)), ""]
    lines += ["## Cost and time", "", *_cost(summary), ""]
    for title, listed in listings(summary):
        lines += [f"## {title}", "", *_listed(listed), ""]
    if summary.failures:
        lines += ["## Failures", ""]
        for group in summary.failures:
            lines += [f"- **{group.n_cases:,} × {cell(group.kind)}**: {cell(group.message)}", f"  {cell(group.advice)}"]
            lines += [f"  - `{code(case_id)}`: {cell(message)}" for case_id, message in group.examples]
        lines.append("")
    lines += ["## Provenance", "", *(f"- {name}: {cell(value)}" for name, value in provenance_facts(summary)), ""]
    return "\n".join(lines)


def listings(summary: JobSummary) -> list[tuple[str, list[tuple[ListedCase, str]]]]:
    """Lists of single cases: title, then each case with its value in words."""
    ranked = summary.ranked_by
    found = [
        (
            f"Worst cases by {summary.score(ranked).title}" if ranked else "",
            [(c, f"{c.value:.3f}") for c in summary.worst],
        ),
        ("Slowest cases", [(c, span(c.value)) for c in summary.slowest]),
        ("Dearest cases", [(c, money(c.value)) for c in summary.dearest]),
    ]
    return [(title, listed) for title, listed in found if listed]


def status_line(summary: JobSummary) -> str:
    """How many cases there are and how they stand."""
    unfinished = "" if summary.final else "; not finished: figures are of the moment"
    return f"{counted(summary.cases)} of {summary.n_cases:,} cases{unfinished}"


def told(mean: Mean | None) -> str:
    """A mean with its interval."""
    if mean is None:
        return NOTHING
    return f"{mean.value:.3f} (n = 1)" if mean.n == 1 else f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})"


def cost_facts(summary: JobSummary) -> list[tuple[str, str]]:
    """Money, tokens and time in words, by name."""
    cost, time = summary.cost, summary.time
    facts = [
        ("paid for new answers", f"{money(cost.paid_usd)} for {cost.paid_calls:,} calls, {cost.paid_tokens:,} tokens"),
        (
            "as the reports count it",
            "" if cost.usd is None else f"{money(cost.usd)}, recorded answers charged like new",
        ),
        ("tokens of the reports", f"{cost.input_tokens:,} in, {cost.output_tokens:,} out" if cost.llm_calls else ""),
    ]
    if cost.per_case is not None:
        one = cost.per_case
        facts.append(
            ("paid per case", f"median {money(one.median)}, 90 % under {money(one.p90)}, most {money(one.largest)}")
        )
    facts.append(("from first to last", span(time.wall_seconds)))
    facts.append(("worker time", f"{span(time.worker_seconds)} of {time.workers} workers"))
    if time.per_minute is not None:
        facts.append(("rate", f"{time.per_minute:.1f} cases a minute"))
    if time.per_case is not None:
        t = time.per_case
        facts.append(
            ("seconds per case", f"median {span(t.median)}, 90 % under {span(t.p90)}, longest {span(t.largest)}")
        )
    if summary.cut_short:
        facts.append(("cut short by a budget", counted(summary.cut_short)))
    if summary.unasked:
        cases = "1 case" if summary.unasked == 1 else f"{summary.unasked:,} cases"
        why = "one request could have passed the budget; raise budget.case and submit them anew"
        facts.append(("language model never asked", f"{cases}: {why}"))
    return [(name, value) for name, value in facts if value]


def provenance_facts(summary: JobSummary) -> list[tuple[str, str]]:
    """What made the results, by name."""
    made = summary.provenance
    head = NOTHING if made.audit_sequence is None else f"entry {made.audit_sequence}, {made.audit_chain}"
    return [
        ("job", summary.job_id),
        ("specification", made.specification_sha256),
        ("product", f"tracescribe {made.product_version}"),
        ("agent", summary.agent),
        ("model", made.model),
        ("model weights", made.model_sha256 or NOTHING),
        ("transcoder weights", made.transcoders_sha256 or NOTHING),
        ("seeds", ", ".join(map(str, made.seeds))),
        ("store", made.store_id),
        ("audit log", head),
        (
            "submitted",
            f"{datetime.fromtimestamp(summary.created_at, UTC):%Y-%m-%d %H:%M:%S} UTC by {summary.created_by}",
        ),
    ]


def cell(text: str) -> str:
    """Untrusted text in a cell or a line: nothing in it ends either, or is markup."""
    flat = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    for sign in "\\|*_[]#":
        flat = flat.replace(sign, "\\" + sign)
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("`", "'")


def code(text: str) -> str:
    """Untrusted text between back-ticks."""
    return "".join(c if c.isprintable() and c != "`" else "\ufffd" for c in " ".join(text.split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; its cells are written as they are."""
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _head(summary: JobSummary) -> list[str]:
    why = f": {cell(summary.message)}" if summary.message else ""
    return [f"{cell(summary.agent)}, job `{code(summary.job_id)}`, {summary.status}{why}. {status_line(summary)}."]


def _scores(scores: Iterable[ScoreSummary]) -> list[str]:
    rows = [
        (
            cell(one.title) + ("" if one.higher_is_better else " (lower is better)"),
            told(one.mean),
            f"{one.mean.n:,}",
            f"{one.n_cases:,}",
        )
        for one in scores
    ]
    return table(("score", "mean (95 % interval)", "prompts", "cases"), rows)


def _groups(summary: JobSummary, title: str, groups: Sequence[GroupScores]) -> list[str]:
    heads = (title, *(cell(summary.score(name).title) for name in summary.shown), "cases")
    rows = [
        (cell(one.name), *(told(one.means.get(name)) for name in summary.shown), f"{one.n_cases:,}") for one in groups
    ]
    return table(heads, rows)


def _counts(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(cell(name), f"{n:,}") for name, n in counts.items()]


def _cost(summary: JobSummary) -> list[str]:
    return [f"- {name}: {cell(value)}" for name, value in cost_facts(summary)]


def _listed(listed: Sequence[tuple[ListedCase, str]]) -> list[str]:
    rows = [(f"`{code(one.case_id)}`", cell(one.title), str(one.seed), value, cell(one.note)) for one, value in listed]
    return table(("case", "title", "seed", "value", "note"), rows)
