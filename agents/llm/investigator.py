"""The investigator: the model chooses what to look at and what to claim, within the same tools, tests and budget.

Three kinds of dialogue: one that explores (labels and supernodes), one that proposes claims, and one after each round of
verdicts. Labels that score poorly go back once, as a pipeline's do. Transcripts and notebook stay in `tools.memory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tracescribe.agents.agent import Findings, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.llm.base import LlmProposerBase
from tracescribe.agents.llm.case_view import Json, newest_fitting, view_of
from tracescribe.agents.llm.circuit_view import circuit_as_data, prompt_outputs, prompt_tokens, verdicts_as_data
from tracescribe.agents.llm.desk import TEMPLATE, CaseDesk, Notebook
from tracescribe.agents.llm.dialogue import Dialogue
from tracescribe.agents.llm.labelling import make_better_labels
from tracescribe.agents.llm.regrouping import claimed_only, worth_revising
from tracescribe.agents.llm.told import told
from tracescribe.agents.report import StepFailure
from tracescribe.agents.survey import Survey
from tracescribe.prompts.library import render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import WorkError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MAX_VERDICT_CHARS = 30_000
"""Of the claims tested so far, as the template has room for."""
_EXPLORED = "explore notebook"


@dataclass(frozen=True, eq=False)
class InvestigatorProposer(LlmProposerBase):
    """A `Proposer` whose language model uses tools."""

    TEMPLATES: ClassVar[tuple[str, ...]] = (TEMPLATE, "relabel_feature")

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """The dialogue that explores; its labels. Its supernodes wait for `group`.

        Raises:
            ProviderError: no usable answer before anything was found.
            BudgetExceededError: a limit is reached before anything was found.
        """
        view = view_of(tools, survey, self.given.evidence)
        desk = CaseDesk(view, "explore", self.given, _EXPLORED, self.signed(TEMPLATE), max_claims=0)
        notebook, failures, error = self._held(desk, Notebook(), "explore", self.given.dialogue.max_turns, {})
        if error is not None and not notebook.labels and not notebook.supernodes:
            raise error
        return Proposal(notebook.labels, failures)

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """One question for each poor label, with the contexts that it got wrong."""
        return make_better_labels(self, view_of(tools, survey, self.given.evidence), poor)

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """The supernodes of the dialogue that explored."""
        view = view_of(tools, survey, self.given.evidence)
        desk = CaseDesk(view, "explore", self.given, _EXPLORED, self.signed(TEMPLATE), max_claims=0)
        found = sorted(desk.notebook.supernodes, key=lambda s: (-s.influence, int(s.supernode_id[1:])))
        return Proposal(tuple(found), () if found else told("group", ["no supernode was made"]))

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """The dialogue that proposes claims.

        Raises:
            ProviderError: no usable answer before anything was claimed.
            BudgetExceededError: a limit is reached before anything was claimed.
        """
        view = view_of(tools, survey, self.given.evidence)
        desk = CaseDesk(
            view, "hypothesise", self.given, "hypothesise notebook", self.signed(TEMPLATE), self.given.max_claims
        )
        notebook, failures, error = self._held(
            desk,
            Notebook(labels=labels, supernodes=supernodes),
            "hypothesise",
            self.given.dialogue.max_claim_turns,
            {},
        )
        if error is not None and not notebook.claims:
            raise error
        return Proposal(notebook.claims, failures)

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """A dialogue on the verdicts, if there is anything to answer (see `worth_revising`).

        Raises:
            ProviderError: no usable answer before anything was claimed.
            BudgetExceededError: a limit is reached before anything was claimed.
        """
        if not worth_revising(findings):
            return Revision()
        view = view_of(tools, survey, self.given.evidence)
        step = f"revise {findings.rounds + 1}"
        desk = CaseDesk(
            view,
            "revise",
            self.given,
            f"{step} notebook",
            self.signed(TEMPLATE),
            self.given.max_revised_claims,
            findings.claims,
        )
        verdicts: dict[str, Json] = {
            "claims": newest_fitting(verdicts_as_data(findings), MAX_VERDICT_CHARS),
            "circuit": circuit_as_data(findings.circuit),
        }
        notebook, failures, error = self._held(
            desk,
            Notebook(labels=findings.labels, supernodes=findings.supernodes),
            step,
            self.given.dialogue.max_claim_turns,
            verdicts,
        )
        if error is not None and not notebook.claims:
            raise error
        made = [s for s in notebook.supernodes if s.supernode_id in notebook.made]
        return Revision(claimed_only(made, notebook.claims), notebook.claims, failures)

    def _held(
        self, desk: CaseDesk, notebook: Notebook, key: str, max_turns: int, verdicts: dict[str, Json]
    ) -> tuple[Notebook, tuple[StepFailure, ...], WorkError | None]:
        """Hold a dialogue; its notebook, what went wrong in it, and the error that ended it, if one did."""
        desk.open(notebook)

        def question(turns_left: int, transcript: list[Json]) -> RenderedPrompt:
            return render(
                TEMPLATE,
                step=desk.step,
                turns_left=turns_left,
                max_actions=self.given.dialogue.max_actions,
                max_labels=self.given.max_labels,
                max_claims=desk.max_claims if desk.step != "explore" else self.given.max_claims,
                prompt=prompt_tokens(desk.view.survey),
                outputs=prompt_outputs(desk.view.survey),
                notebook=desk.as_data(),
                verdicts=verdicts,
                transcript=transcript,
            )

        tools = desk.view.tools
        dialogue = Dialogue(tools, self.session, self.given.dialogue, f"{key} dialogue", max_turns, question, desk)
        state, error = dialogue.run()
        faults = list(state.refused)
        if not state.ended.startswith("finished"):
            faults.append(f"the dialogue ended after {len(state.turns)} turns: {state.ended}")
        step = {"explore": "label"}.get(desk.step, desk.step)
        return desk.notebook, told(step, faults), error
