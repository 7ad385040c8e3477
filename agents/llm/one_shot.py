"""One-shot: one question in all, no tools, no look-ups beyond one table that fits the prompt. The honest baseline.

The answer is kept from the first step that asks to the last that uses it, so that every step finds the same; a question
that failed is not asked again. The loop tests what it claims as it tests everybody's claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tracescribe.agents.agent import Findings, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, Frozen
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.llm.answers import OneShotAnswer
from tracescribe.agents.llm.base import LlmProposerBase
from tracescribe.agents.llm.case_view import CaseView, Json, fitting, view_of
from tracescribe.agents.llm.circuit_view import prompt_outputs, prompt_tokens
from tracescribe.agents.llm.claiming import known_of
from tracescribe.agents.llm.donor_book import DonorBook
from tracescribe.agents.llm.feature_labels import feature_label
from tracescribe.agents.llm.feature_table import feature_row
from tracescribe.agents.llm.groups import new_supernodes
from tracescribe.agents.llm.ids import read_ref
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.llm.regrouping import members_of
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.typed_claims import typed_claims
from tracescribe.agents.llm.words import vocabulary_of
from tracescribe.agents.llm.written_swaps import claims_with_donors
from tracescribe.agents.survey import Survey
from tracescribe.prompts.library import render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import BudgetExceededError, ProviderError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

TEMPLATE = "interpret_at_once"
MIN_ROW_CHARS = 80
"""Every row of the table is longer; features beyond what could fit are not looked up."""
_KEY = "one_shot"


class _Asked(Frozen):
    """The one question's outcome.

    Attributes:
        answer: None where the question failed, and `failure` says why.
        ids: our supernode ids by the answer's.
    """

    answer: OneShotAnswer | None
    failure: str = ""
    ids: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OneShotProposer(LlmProposerBase):
    """A `Proposer` that asks a language model one question for each case."""

    TEMPLATES: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """Ask the question, and take the labels of its answer.

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        answer = self._answer(view)
        if answer is None:
            return Proposal()
        known = {node.ref for node in survey.features}
        vocabulary = vocabulary_of(tools, survey)
        labels: dict[FeatureRef, FeatureLabel] = {}
        faults: list[str] = []
        for given in answer.labels:
            ref = read_ref(given.feature)
            if ref is None or ref not in known:
                faults.append(f"label dropped: feature {given.feature[:20]!r} is unknown")
            elif ref in labels:
                faults.append(f"label dropped: feature {ref} is labelled twice")
            elif len(labels) == self.given.max_labels:
                faults.append(f"labels beyond the {self.given.max_labels} asked for were dropped")
                break
            else:
                labels[ref], wrong = feature_label(ref, given, vocabulary, self.signed(TEMPLATE))
                faults += wrong
        return Proposal(tuple(labels.values()), told("label", faults))

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """None: nothing is asked twice."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """The supernodes of the one answer.

        Raises:
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        answer = self._answer(view)
        if answer is None:
            return Proposal()
        members = members_of(view, labels)
        most = self.given.dialogue.max_supernodes
        made, faults = new_supernodes(answer.supernodes, members, tools.new_supernode_id, most=most)
        ids = {given: supernode.supernode_id for given, supernode in made.items()}
        keep(tools, _KEY, _Asked(answer=answer, ids=ids))
        ordered = sorted(made.values(), key=lambda s: (-s.influence, int(s.supernode_id[1:])))
        return Proposal(tuple(ordered), told("group", [f"dropped: {fault}" for fault in faults]))

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """The claims of the one answer; a donor prompt that it wrote is read by the model under study here.

        Raises:
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        answer = self._answer(view)
        asked = recall(tools, _KEY, _Asked)
        if answer is None or asked is None:
            return Proposal()
        claims, failures = claims_with_donors(view, answer.claims, supernodes, asked.ids, self.given.max_claims)
        known = known_of(view, labels, supernodes, DonorBook(tools, view.facts).pairs(supernodes))
        typed, dropped = typed_claims(view, claims, known, self.given.max_claims)
        return Proposal(typed, failures + dropped)

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Nothing: a one-shot agent does not see its verdicts."""
        return Revision()

    def prompt(self, view: CaseView) -> RenderedPrompt:
        """The one question."""
        nodes = view.survey.features
        shown = fitting_rows(view, nodes, self.given.max_table_chars)
        return render(
            TEMPLATE,
            max_labels=self.given.max_labels,
            max_claims=self.given.max_claims,
            left_out=len(nodes) - len(shown),
            prompt=prompt_tokens(view.survey),
            outputs=prompt_outputs(view.survey),
            features=shown,
        )

    def _answer(self, view: CaseView) -> OneShotAnswer | None:
        """The one answer: asked for once, then remembered; None once the question has failed."""
        asked = recall(view.tools, _KEY, _Asked)
        if asked is not None:
            return asked.answer
        try:
            answer = self.session.ask(self.prompt(view), OneShotAnswer, view.tools.meter)
        except BudgetExceededError:
            raise  # nothing was sent, so nothing has failed yet
        except ProviderError as error:
            keep(view.tools, _KEY, _Asked(answer=None, failure=str(error)))
            raise
        keep(view.tools, _KEY, _Asked(answer=answer))
        return answer


def fitting_rows(view: CaseView, nodes: Sequence[FeatureNode], max_chars: int) -> list[Json]:
    """Rows of the table, most influential features first, as many as fit."""
    rows: list[Json] = [feature_row(view, node) for node in nodes[: max_chars // MIN_ROW_CHARS]]
    return fitting(rows, max_chars)
