"""Why the loop stops revising: rules over what was found, asked in this order before every round.

1. `untestable`: nothing can be run here, so no answer would be better founded than the first.
2. `budget`: a limit was reached.
3. `complete`: the circuit alone carries the answer, and nothing came back from the last round: all its tested claims
   are supported. A claim that came back refuted or weak is answered at least once before a circuit counts as complete.
4. `round limit`.
5. `nothing new`: asked for more, the agent has nothing that was not tested already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tracescribe.agents.claims import Claim, supernodes_of
from tracescribe.agents.findings import CircuitEffect, Supernode, Verdict
from tracescribe.agents.reporting.report_model import Stopped
from tracescribe.tracer.provenance import canonical_json

COMPLETE_SUFFICIENCY = 0.9
"""Share of the logit difference that the circuit alone must recover to count as complete: a further supernode could add
a tenth at most, which is less than any claim about it would have to show."""
NOTHING_PROPOSED = "no claim was proposed"
"""Why nothing new came, where the agent was asked for more and had nothing."""
REVISION_FAILED = "the revision failed: "
"""Why nothing new came, where asking for more failed; the error follows."""
UNTESTED_NOTE = "nothing was tested: "
"""Of the notes on what is not explained: the reason why nothing can be tested follows."""
_ALL_REPEATED = re.compile(r"all [1-9][0-9]{0,5} claims proposed were tested before")


def all_repeated(n: int) -> str:
    """Why nothing new came, where every claim proposed was one that is known."""
    return f"all {n} claims proposed were tested before"


def says_nothing_new(detail: str) -> bool:
    """Whether a text tells, in this module's words, why nothing new came; a failed revision has its error beside it."""
    return detail == NOTHING_PROPOSED or _ALL_REPEATED.fullmatch(detail) is not None


def stop_before_revision(
    *,
    untestable: str | None,
    cut_short: str | None,
    circuit: CircuitEffect | None,
    came_back: Sequence[Verdict],
    rounds: int,
    max_rounds: int,
) -> Stopped | None:
    """Why there is no further round; None where there is one.

    Args:
        untestable: why nothing can be tested, or None.
        cut_short: why thinking or testing ended early, or None.
        circuit: what the supernodes that stand do together; None where it was not measured.
        came_back: verdicts of the last round's claims.
        rounds, max_rounds: of revision, done and allowed.
    """
    if untestable is not None:
        return Stopped(reason="untestable", detail=untestable, rounds=rounds)
    if cut_short is not None:
        return Stopped(reason="budget", detail=cut_short, rounds=rounds)
    tested = [verdict for verdict in came_back if verdict.outcome != "untested"]
    open_claims = [verdict for verdict in tested if verdict.outcome != "supported"]
    if circuit is not None and circuit.sufficiency >= COMPLETE_SUFFICIENCY and tested and not open_claims:
        detail = (
            f"the circuit alone recovers {circuit.sufficiency:.2f} of the logit difference "
            f"({COMPLETE_SUFFICIENCY:g} counts as complete), and no claim of the last round came back refuted or weak"
        )
        return Stopped(reason="complete", detail=detail, rounds=rounds)
    if rounds >= max_rounds:
        return Stopped(reason="round limit", detail=f"{rounds} of {max_rounds} rounds of revision done", rounds=rounds)
    return None


def new_claims(
    claims: Sequence[Claim], known: Sequence[Claim], supernodes: Sequence[Supernode]
) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """Claims that say something that was not said before, and those that repeat a known one.

    Two claims are the same if they would be tested alike: the same kind and terms, about the same features. Ids and the
    wording for people do not count.

    Args:
        supernodes: all that the claims may name.
    """
    members = {s.supernode_id: sorted([m.layer, m.position, m.feature] for m in s.members) for s in supernodes}
    seen = {_content(claim, members) for claim in known}
    fresh: list[Claim] = []
    repeated: list[Claim] = []
    for claim in claims:
        content = _content(claim, members)
        (repeated if content in seen else fresh).append(claim)
        seen.add(content)
    return tuple(fresh), tuple(repeated)


def needed_supernodes(
    supernodes: Sequence[Supernode], fresh: Sequence[Claim], repeated: Sequence[Claim]
) -> tuple[Supernode, ...]:
    """New supernodes without those that only repeated claims speak of: such a one is a known one under another id."""
    named = {i for claim in fresh for i in supernodes_of(claim)}
    idle = {i for claim in repeated for i in supernodes_of(claim)} - named
    return tuple(supernode for supernode in supernodes if supernode.supernode_id not in idle)


def _content(claim: Claim, members: dict[str, list[list[int]]]) -> str:
    terms = claim.model_dump(mode="json", exclude={"claim_id", "statement"})
    for name in ("supernode", "source", "destination"):
        if name in terms:
            terms[name] = members.get(terms[name], terms[name])
    if "supernodes" in terms:
        terms["supernodes"] = sorted(canonical_json(members.get(i, i)) for i in terms["supernodes"])
    return canonical_json(terms)
