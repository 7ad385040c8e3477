"""The language model's part of the loop: it labels, groups and claims. Code finds evidence, tests and judges.

A step that fails is told in the report and leaves a gap; the offline agent's answer is never put in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, Predicate, SwapClaim
from tracescribe.agents.donors import Donor, DonorSettings, find_donors
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.llm.answers import ClaimsAnswer, FeatureLabelAnswer, SupernodesAnswer
from tracescribe.agents.llm.case_view import CaseView, view_of
from tracescribe.agents.llm.circuit_view import (
    donors_as_data,
    edges_as_data,
    groups_as_data,
    labels_as_data,
    prompt_outputs,
    prompt_tokens,
    supernodes_as_data,
    verdicts_as_data,
)
from tracescribe.agents.llm.evidence_view import context_ids, feature_inputs
from tracescribe.agents.llm.groups import merged_groups
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.llm.typed_claims import Known, typed_claims
from tracescribe.agents.llm.words import Vocabulary, vocabulary_of
from tracescribe.agents.report import StepFailure
from tracescribe.agents.supernodes import GroupSettings, group_features
from tracescribe.agents.survey import Survey
from tracescribe.prompts.library import load_prompt, prompt_versions, render
from tracescribe.tracer.errors import InputError, WorkError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

TEMPLATES = ("label_feature", "name_supernodes", "propose_claims", "repair_answer")


@dataclass(frozen=True, eq=False)
class LlmProposer:
    """A `Proposer` that asks a language model.

    Attributes:
        given: every setting.
        session: who is asked.
    """

    given: LlmAgentSettings
    session: LlmSession

    @property
    def name(self) -> str:
        """As set."""
        return self.given.name

    def settings(self) -> Mapping[str, object]:
        """Every setting of every step, and who was asked."""
        return {
            "base_url": self.session.client.endpoint.base_url,
            **self.given.as_json(),
            "groups": GroupSettings().as_json(),
            "donors": DonorSettings().as_json(),
        }

    def prompt_versions(self) -> Mapping[str, str]:
        """Version and hash of every template."""
        return prompt_versions(TEMPLATES)

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """One question for each of the most influential features."""
        view = view_of(tools, survey, self.given.evidence)
        nodes: dict[FeatureRef, list[FeatureNode]] = {}
        for node in survey.features:
            nodes.setdefault(node.ref, []).append(node)
        chosen = list(nodes.values())[: self.given.max_labels]
        vocabulary = vocabulary_of(tools, survey)
        prompts = [render("label_feature", **feature_inputs(view, group)) for group in chosen]
        labels: list[FeatureLabel] = []
        failures: list[StepFailure] = []
        for group, answer in zip(chosen, self.session.ask_all(prompts, FeatureLabelAnswer, tools.meter), strict=True):
            if isinstance(answer, WorkError):
                failures.append(StepFailure(step="label", error=f"feature {group[0].ref}: {answer}"))
                continue
            label, unknown = self._label(view, group[0], answer, vocabulary)
            labels.append(label)
            if unknown:
                told = ", ".join(word[:20] for word in unknown)
                failures.append(
                    StepFailure(step="label", error=f"feature {group[0].ref}: words that no token is, dropped: {told}")
                )
        return Proposal(tuple(labels), tuple(failures))

    def label_judge(self) -> LabelJudge | None:
        """None: code judges labels by their predicates."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """None: every label stays as it was."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """One question on all candidate groups, which clustering of attribution profiles gives.

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        view = view_of(tools, survey, self.given.evidence)
        by_ref = {FeatureRef(label.layer, label.feature): label for label in labels}
        candidates = group_features(tools, survey, by_ref, GroupSettings())
        prompt = render(
            "name_supernodes",
            prompt=prompt_tokens(survey),
            outputs=prompt_outputs(survey),
            groups=groups_as_data(view, candidates, by_ref),
        )
        answer = self.session.ask(prompt, SupernodesAnswer, tools.meter)
        supernodes, failures = merged_groups(candidates, answer.supernodes)
        return Proposal(supernodes, failures)

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
        known, missing = self._known(view, labels, supernodes)
        answer = self._ask_for_claims(view, known, labels, supernodes, None)
        claims, dropped = typed_claims(view, answer.claims, known, self.given.max_claims)
        return Proposal(claims, missing + dropped)

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """The same question with the verdicts, if there is any claim that was not supported.

        Raises:
            ProviderError: no usable answer.
            BudgetExceededError: a limit is reached.
        """
        if all(verdict.outcome in ("supported", "untested") for verdict in findings.verdicts):
            return Revision()
        view = view_of(tools, survey, self.given.evidence)
        known, _ = self._known(view, findings.labels, findings.supernodes)
        answer = self._ask_for_claims(view, known, findings.labels, findings.supernodes, findings)
        claims, failures = typed_claims(
            view, answer.claims, known, self.given.max_revised_claims, step="revise", earlier=findings.claims
        )
        return Revision(claims=claims, failures=failures)

    def _label(
        self, view: CaseView, node: FeatureNode, answer: FeatureLabelAnswer, vocabulary: Vocabulary
    ) -> tuple[FeatureLabel, tuple[str, ...]]:
        words, unknown = vocabulary.split(answer.predicate.words)
        label = FeatureLabel(
            layer=node.layer,
            feature=node.feature,
            text=answer.text,
            reads=answer.reads,
            predicate=Predicate(on=answer.predicate.on, words=words) if words else None,
            evidence=context_ids(view, node),
            proposed_by=f"{self.session.client.endpoint.model} by {load_prompt('label_feature').reference}",
        )
        return label, unknown

    def _known(
        self, view: CaseView, labels: Sequence[FeatureLabel], supernodes: Sequence[Supernode]
    ) -> tuple[Known, tuple[StepFailure, ...]]:
        """What claims may name, and the supernodes for which no donors could be looked for."""
        found: list[tuple[Supernode, Donor]] = []
        failures: list[StepFailure] = []
        movable = [s for s in supernodes if s.role != "suppressor"][: self.given.max_swapped]
        for supernode in movable if view.tools.can_test else ():
            try:
                donors = find_donors(view.tools, view.facts, supernode, DonorSettings())
                found += [(supernode, donor) for donor in donors]
            except InputError as error:  # The corpus holds what the model cannot read; swaps are then not offered.
                failures.append(
                    StepFailure(step="hypothesise", error=f"no donors for {supernode.supernode_id}: {error}")
                )
        known = Known(
            supernodes={supernode.supernode_id: supernode for supernode in supernodes},
            donors={f"d{number}": pair for number, pair in enumerate(found, start=1)},
            labels={f"{label.layer}/{label.feature}": label for label in labels if label.predicate is not None},
            vocabulary=vocabulary_of(view.tools, view.survey),
        )
        return known, tuple(failures)

    def _ask_for_claims(
        self,
        view: CaseView,
        known: Known,
        labels: Sequence[FeatureLabel],
        supernodes: Sequence[Supernode],
        findings: Findings | None,
    ) -> ClaimsAnswer:
        earlier = findings.claims if findings is not None else ()
        swapped = {(c.supernode, c.donor_prompt) for c in earlier if isinstance(c, SwapClaim)}
        fresh = {i: (s, d) for i, (s, d) in known.donors.items() if (s.supernode_id, d.prompt) not in swapped}
        prompt = render(
            "propose_claims",
            max_claims=self.given.max_claims if findings is None else self.given.max_revised_claims,
            prompt=prompt_tokens(view.survey),
            outputs=prompt_outputs(view.survey),
            supernodes=supernodes_as_data(view, supernodes),
            edges=edges_as_data(view.survey, supernodes),
            donors=donors_as_data(fresh),
            labels=labels_as_data(labels),
            verdicts=[]
            if findings is None
            else verdicts_as_data({c.claim_id: c.statement for c in earlier}, findings.verdicts),
        )
        return self.session.ask(prompt, ClaimsAnswer, view.tools.meter)
