"""How the benches of judge and stability are shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.evals.judging.bench import JudgeBench
    from tracescribe.evals.judging.rates import JudgedClaim, KindRates, Rate
    from tracescribe.evals.stability import Stability

MAX_SHOWN = 20
"""Claims that are told one by one; the rest are in the file of `--out`."""


def show_judge_bench(result: JudgeBench, as_json: bool) -> None:
    """Print what the judge made of false, true and random claims."""
    if as_json:
        terminal.print_json(result.to_json())
        return
    console = terminal.stdout()
    console.print(_outcomes("false claims", result.false_rates, true=False))
    console.print("")
    console.print(_outcomes("true claims", result.true_rates, true=True))
    console.print("\nnothing there")
    random_claims = result.random_rates[-1].supported
    console.print(f"  random claims supported:              {share(random_claims)}")
    console.print(f"  reports of them with a supported one: {share(result.random_reports)}")
    exchanged = result.exchanged
    console.print(f"  controls in place of features:        {share(exchanged.claims)} of claims")
    console.print(f"  false discovery rate over reports:    {share(exchanged.reports)}")
    console.print(f"    without the threshold:              {share(exchanged.without_threshold)}")
    console.print(f"    p <= .05:                           {share(exchanged.small_p)} of claims")
    left_out = sum(result.left_out.values())
    console.print(
        f"\n{result.n_prompts} prompts; {left_out} candidates left out (not what they were made for, or too near a "
        f"threshold), {result.unclear} claims of the scripted models too near one",
        soft_wrap=True,
    )
    _list("WRONGLY SUPPORTED", result.wrongly_supported)
    _list("true, and not supported", [c for c in result.claims if c.true and c.outcome != "supported"])


def _outcomes(title: str, rows: Sequence[KindRates], *, true: bool) -> Table:
    table = Table(box=None, pad_edge=False, title=None)
    table.add_column(title)
    for column in ("n", "supported", "alone", "refuted", "unsure", "untested"):
        table.add_column(column, justify="right")
    table.add_column("supported" if true else "wrongly, at most", no_wrap=True)
    if true:
        table.add_column("of those with enough data", no_wrap=True)
    for row in rows:
        outcomes = row.outcomes
        table.add_row(
            row.kind,
            str(row.n),
            str(outcomes["supported"]),
            str(row.supported_alone.count),
            str(outcomes["refuted"]),
            str(outcomes["inconclusive"]),
            str(outcomes["untested"]),
            *((share(row.supported), share(row.of_testable)) if true else (share(row.supported_alone),)),
        )
    return table


def _list(title: str, claims: Sequence[JudgedClaim]) -> None:
    if not claims:
        return
    console = terminal.stdout()
    console.print(f"\n{title}: {len(claims)}")
    for claim in claims[:MAX_SHOWN]:
        console.print(
            terminal.styled(f"  {claim.kind} ({claim.source}, {claim.sort}) on {claim.prompt!r}: {claim.reason}"),
            soft_wrap=True,
        )
    if len(claims) > MAX_SHOWN:
        console.print(f"  and {len(claims) - MAX_SHOWN} more; --out writes them all")


def show_stability(result: Stability, as_json: bool) -> None:
    """Print how much each agent's reports change with the seed."""
    from tracescribe.evals.stability import (
        AIM_FLIPS,
        AIM_JACCARD,
        CIRCUIT_ORACLE_FLIPS,
        CIRCUIT_ORACLE_JACCARD,
    )

    if as_json:
        terminal.print_json(result.to_json())
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("agent")
    for column in ("prompts", "passes", "Jaccard of features"):
        table.add_column(column, justify="right")
    for column in ("flips, word for word", "flips, donors aside", "not in every pass", "donors aside"):
        table.add_column(column, justify="right")
    for one in result.agents:
        table.add_row(
            terminal.styled(one.agent),
            str(len(one.cases)),
            str(len(result.seeds)),
            f"{one.jaccard:.3f}",
            *(_short(rate) for rate in (one.flips, one.subject_flips, one.partial, one.partial_subjects)),
        )
    table.add_row("Circuit Oracle", "1", "5", f"{CIRCUIT_ORACLE_JACCARD:.3f}", f"{CIRCUIT_ORACLE_FLIPS:.1%}")
    table.add_row("aim, offline", "", "", f"{AIM_JACCARD:.2f}", f"{AIM_FLIPS:.0%}")
    console = terminal.stdout()
    console.print(table)
    for one in result.agents:
        flips = [flip for case in one.cases for flip in (*case.flips, *case.subject_flips)]
        for flip in flips[:MAX_SHOWN]:
            told = ", ".join(flip.outcomes)
            console.print(terminal.styled(f"{one.agent} on {flip.prompt!r}: {flip.content}: {told}"), soft_wrap=True)
        kinds = Counter(json.loads(content)["kind"] for case in one.cases for content in case.partial)
        if kinds:
            told = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
            console.print(f"{one.agent}: claims that are not in every pass: {told}", soft_wrap=True)


def _short(rate: Rate) -> str:
    return f"{rate.count}/{rate.n}, {rate.count / rate.n:.1%}" if rate.n else "–"


def share(rate: Rate) -> str:
    """`3/60, 5.0 % [1.7, 13.7]`."""
    if not rate.n:
        return "–"
    return f"{rate.count}/{rate.n}, {rate.count / rate.n:.1%} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
