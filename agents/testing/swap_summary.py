"""Swaps of one supernode over several donor prompts, told together."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.claims import Claim, SwapClaim
from tracescribe.agents.findings import Interval, SwapSummary, Verdict
from tracescribe.tracer.statistics import wilson_interval


def swap_summaries(claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> tuple[SwapSummary, ...]:
    """One summary for each supernode that was swapped, in the order in which claims name them.

    Every donor is a claim of its own, with its own verdict; the share supported and its Wilson interval say how far the
    finding reaches beyond one donor. Untested claims are in no count.
    """
    outcome = {verdict.claim_id: verdict.outcome for verdict in verdicts}
    tested: dict[str, list[bool]] = {}
    for claim in claims:
        found = outcome.get(claim.claim_id, "untested")
        if isinstance(claim, SwapClaim) and found != "untested":
            tested.setdefault(claim.supernode, []).append(found == "supported")
    summaries = []
    for supernode, supported in tested.items():
        bounds = wilson_interval(sum(supported), len(supported))
        interval = Interval(low=bounds.low, high=bounds.high, method="Wilson interval of the share of donors")
        summaries.append(
            SwapSummary(supernode=supernode, n_donors=len(supported), n_supported=sum(supported), interval=interval)
        )
    return tuple(summaries)
