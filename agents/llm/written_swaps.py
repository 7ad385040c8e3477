"""Claims of one answer with the ids of the run, and donor prompts that the answer wrote itself entered as donors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracescribe.agents.findings import Supernode
from tracescribe.agents.llm.answers import ClaimAnswer, OneShotClaimAnswer, SwapAnswer, WrittenSwapAnswer
from tracescribe.agents.llm.case_view import CaseView
from tracescribe.agents.llm.donor_book import DonorBook
from tracescribe.agents.llm.regrouping import renamed
from tracescribe.agents.llm.told import told
from tracescribe.agents.report import StepFailure
from tracescribe.tracer.errors import InputError


def claims_with_donors(
    view: CaseView,
    answers: Sequence[OneShotClaimAnswer],
    supernodes: Sequence[Supernode],
    ids: Mapping[str, str],
    most: int,
) -> tuple[list[ClaimAnswer], tuple[StepFailure, ...]]:
    """The claims with our ids, and every donor prompt that can be used entered under an id of its own.

    Args:
        answers: as they were given.
        supernodes: of the run.
        ids: our supernode ids by the answer's.
        most: claims that are read.

    Raises:
        BudgetExceededError: a limit is reached.
    """

    def named(given: str) -> str:
        # An id that was dropped must never fall to another supernode that happens to bear it with us.
        return ids.get(given, f"{given[:20]} of the answer")

    book = DonorBook(view.tools, view.facts)
    by_id = {supernode.supernode_id: supernode for supernode in supernodes}
    claims: list[ClaimAnswer] = []
    faults: list[str] = []
    for number, claim in enumerate(answers[:most], start=1):
        if not isinstance(claim, WrittenSwapAnswer):
            claims.append(renamed(claim, named))
            continue
        supernode = by_id.get(named(claim.supernode))
        try:
            if supernode is None:
                raise InputError(f"no supernode {claim.supernode[:20]!r}")
            donor = book.written(supernode, claim.donor_prompt, view.survey.target_token)
        except InputError as error:
            faults.append(f"proposed claim {number} (swap) was dropped: {error}")
            continue
        claims.append(SwapAnswer(kind="swap", donor=book.add(supernode, donor)))
    more = len(answers) - most
    if more > 0:
        faults.append(f"{more} claims beyond the {most} asked for were dropped")
    return claims, told("hypothesise", faults)
