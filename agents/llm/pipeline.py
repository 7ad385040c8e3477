"""The pipeline: every thinking step of the loop is one structured question, or one for each feature.

A step that fails is told in the report and leaves a gap; the offline agent's answer is never put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tracescribe.agents.agent import Findings, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.grouping.supernodes import GroupSettings, group_features
from tracescribe.agents.llm.answers import ClaimsAnswer, RevisionAnswer, SupernodesAnswer
from tracescribe.agents.llm.base import LlmProposerBase
from tracescribe.agents.llm.case_view import CaseView, fitting, newest_fitting, view_of
from tracescribe.agents.llm.circuit_view import (
    circuit_as_data,
    donors_as_data,
    edges_as_data,
    groups_as_data,
    labels_as_data,
    prompt_outputs,
    prompt_tokens,
    supernodes_as_data,
    verdicts_as_data,
)
from tracescribe.agents.llm.claiming import Offer, make_offer
from tracescribe.agents.llm.groups import formed_groups
from tracescribe.agents.llm.labelling import make_better_labels, make_labels, places_of
from tracescribe.agents.llm.regrouping import free_features, regrouped, worth_revising
from tracescribe.agents.llm.typed_claims import typed_claims
from tracescribe.agents.survey import Survey
from tracescribe.prompts.library import render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.graph import FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MAX_GROUP_CHARS = 60_000
"""Of candidate groups, as `name_supernodes` has room for."""
MAX_REGROUP_CHARS = 30_000
"""Of supernodes with their members, as `revise_claims` has room for."""
MAX_SUPERNODE_CHARS, MAX_EDGE_CHARS, MAX_LIST_CHARS, MAX_VERDICT_CHARS = 20_000, 10_000, 15_000, 40_000
"""Of supernodes, edges, lists of donors, labels and features, and verdicts, as the templates on claims have room for: what
does not fit is left out row by row, never cut in the middle of one."""


@dataclass(frozen=True, eq=False)
class PipelineProposer(LlmProposerBase):
    """A `Proposer` that asks a language model one structured question for each step."""

    TEMPLATES: ClassVar[tuple[str, ...]] = (
        "label_feature",
        "relabel_feature",
        "name_supernodes",
        "propose_claims",
        "revise_claims",
    )

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """One question for each of the most influential features."""
        view = view_of(tools, survey, self.given.evidence)
        return make_labels(self, view, list(places_of(view).values())[: self.given.max_labels])

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """One question for each poor label, with the contexts that it got wrong."""
        return make_better_labels(self, view_of(tools, survey, self.given.evidence), poor)

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """One question on all candidate groups, which clustering of attribution profiles gives.

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        by_ref = {FeatureRef(label.layer, label.feature): label for label in labels}
        candidates = group_features(tools, survey, by_ref, GroupSettings())
        described = groups_as_data(view, candidates, by_ref)
        shown = fitting(described, MAX_GROUP_CHARS)
        prompt = render(
            "name_supernodes",
            prompt=prompt_tokens(survey),
            outputs=prompt_outputs(survey),
            groups=shown,
            left_out=len(described) - len(shown),
        )
        answer = self.session.ask(prompt, SupernodesAnswer, tools.meter)
        return Proposal(*formed_groups(candidates, answer.supernodes, survey.influence, tools.new_supernode_id))

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """One question on the whole circuit.

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        offer = make_offer(view, labels, supernodes, max_swapped=self.given.max_swapped, step="hypothesise")
        prompt = render(
            "propose_claims",
            max_claims=self.given.max_claims,
            verdicts=[],
            **_circuit(view, offer, labels, supernodes),
            supernodes=fitting(supernodes_as_data(view, supernodes), MAX_SUPERNODE_CHARS),
        )
        answer = self.session.ask(prompt, ClaimsAnswer, tools.meter)
        claims, dropped = typed_claims(view, answer.claims, offer.known, self.given.max_claims)
        return Proposal(claims, offer.failures + dropped)

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """One question with every measurement, if there is anything to answer (see `worth_revising`).

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        if not worth_revising(findings):
            return Revision()
        view = view_of(tools, survey, self.given.evidence)
        offer = make_offer(
            view,
            findings.labels,
            findings.supernodes,
            max_swapped=self.given.max_swapped,
            step="revise",
            earlier=findings.claims,
        )
        answer = self.session.ask(self._revision_prompt(view, offer, findings), RevisionAnswer, tools.meter)
        return regrouped(view, answer, offer, findings, self.given)

    def _revision_prompt(self, view: CaseView, offer: Offer, findings: Findings) -> RenderedPrompt:
        return render(
            "revise_claims",
            max_claims=self.given.max_revised_claims,
            **_circuit(view, offer, findings.labels, findings.supernodes),
            supernodes=fitting(supernodes_as_data(view, findings.supernodes, members=True), MAX_REGROUP_CHARS),
            features=fitting(free_features(view, findings), MAX_LIST_CHARS),
            verdicts=newest_fitting(verdicts_as_data(findings), MAX_VERDICT_CHARS),
            circuit=circuit_as_data(findings.circuit),
        )


def _circuit(
    view: CaseView, offer: Offer, labels: Sequence[FeatureLabel], supernodes: Sequence[Supernode]
) -> dict[str, object]:
    """Inputs that both templates on claims take."""
    return {
        "prompt": prompt_tokens(view.survey),
        "outputs": prompt_outputs(view.survey),
        "edges": fitting(edges_as_data(view.survey, supernodes), MAX_EDGE_CHARS),
        "donors": fitting(donors_as_data(offer.donors), MAX_LIST_CHARS),
        "labels": fitting(labels_as_data(labels), MAX_LIST_CHARS),
    }
