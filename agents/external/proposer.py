"""An agent from outside as a proposer of the loop: it is asked once, and its answer is kept for every step.

What names something unknown, or says something twice, is left out and told in the report as a failure of its step. Testing
and judging are the loop's, as for every agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from tracescribe.agents.agent import Findings, LabelJudge, PoorLabel, Proposal, Revision
from tracescribe.agents.claims import Claim, FeatureAt, Frozen
from tracescribe.agents.external.acts import ActsOnCase
from tracescribe.agents.external.answers import ExternalAnswer, ToldCost
from tracescribe.agents.external.case_document import case_document
from tracescribe.agents.external.conversation import TalkLimits, converse
from tracescribe.agents.external.errors import ExternalAgentError
from tracescribe.agents.external.names import NodeNames, names_of
from tracescribe.agents.external.program import Program
from tracescribe.agents.external.told_cost import cost_fault
from tracescribe.agents.findings import FeatureLabel, Supernode, SupernodeEdge
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.agents.llm.answers import OneShotLabelAnswer, PredicateAnswer
from tracescribe.agents.llm.case_view import CaseView, EvidenceSettings, view_of
from tracescribe.agents.llm.claiming import known_of
from tracescribe.agents.llm.donor_book import DonorBook
from tracescribe.agents.llm.feature_labels import feature_label
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.typed_claims import typed_claims
from tracescribe.agents.llm.words import vocabulary_of
from tracescribe.agents.llm.written_swaps import claims_with_donors
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.donors import DonorSettings
from tracescribe.agents.testing.hypotheses import HypothesisSettings, propose_claims
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

_KEY = "external"
_SHOWN = 40


@dataclass(frozen=True)
class ExternalSettings:
    """What an agent from outside may take.

    Attributes:
        max_seconds: until its answer, where the budget has no limit for seconds.
        share_of_seconds: of the seconds that the budget leaves; the rest is for the tests of its claims.
        max_claims: that are tested; as many as language-model agents have.
        max_questions: before its answer.
    """

    max_seconds: float = 900.0
    share_of_seconds: float = 0.8
    max_claims: int = 20
    max_questions: int = 2000


class Said(Frozen):
    """What an agent from outside said about one case.

    Attributes:
        seconds: measured, from its start to its answer.
        questions: that it asked.
        ids: our supernode ids by the answer's.
    """

    answer: ExternalAnswer
    seconds: float
    questions: int
    ids: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class ExternalProposer:
    """A `Proposer` that asks a program.

    Attributes:
        program: what is started for each case.
        given: what it may take.
        last: what it said about the last case, for who asks for its told cost.
    """

    program: Program
    given: ExternalSettings = field(default_factory=ExternalSettings)
    last: list[Said] = field(default_factory=list, compare=False, repr=False)

    @property
    def name(self) -> str:
        """`exec:` or `python:`, and the program's name."""
        return self.program.name

    def settings(self) -> Mapping[str, object]:
        """The program's words and files, and what it may take."""
        return {"program": self.program.settings(), **asdict(self.given)}

    def prompt_versions(self) -> Mapping[str, str]:
        """None of ours."""
        return {}

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """Ask the program, and take the labels of its answer.

        Raises:
            ExternalAgentError: it gave no answer that can be used.
            BudgetExceededError: no time is left.
        """
        names = names_of(survey.full)
        answer = self._said(tools, survey, names).answer
        vocabulary = vocabulary_of(tools, survey)
        labels: dict[FeatureRef, FeatureLabel] = {}
        faults = _unknown_ids(answer, names)
        for given in answer.labels:
            ref = names.ref(given.feature)
            if ref is None:
                faults.append(f"label dropped: feature {given.feature[:_SHOWN]!r} is unknown")
            elif ref in labels:
                faults.append(f"label dropped: feature {ref} is labelled twice")
            else:
                predicate = given.predicate or PredicateAnswer(on="token", words=[given.text])
                full = OneShotLabelAnswer(
                    feature=str(ref), text=given.text, reads=given.reads, here=given.here, predicate=predicate
                )
                labels[ref], wrong = feature_label(ref, full, vocabulary, self.name)
                faults += wrong if given.predicate is not None else ()
        return Proposal(tuple(labels.values()), told("label", faults))

    def label_judge(self) -> LabelJudge | None:
        """None: code judges labels by their predicates."""
        return None

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """None: nothing is asked twice."""
        return Proposal()

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """The supernodes of the answer; a feature that it puts into two stays in the first."""
        names = names_of(survey.full)
        said = self._said(tools, survey, names)
        used: set[FeatureNode] = set()
        made: dict[str, Supernode] = {}
        faults: list[str] = []
        for given in said.answer.supernodes:
            if given.id in made or given.id in names.ends:
                faults.append(f"supernode dropped: id {given.id[:_SHOWN]!r} is used twice")
                continue
            members = []
            for text in given.members:
                node = names.nodes.get(text)
                if node is None:
                    faults.append(f"member dropped: no feature node {text[:_SHOWN]!r}")
                elif node in used:
                    faults.append(f"member dropped: {text[:_SHOWN]!r} is used twice")
                else:
                    used.add(node)
                    members.append(node)
            if not members:
                faults.append(f"supernode dropped: {given.id[:_SHOWN]!r} has no member that can be used")
                continue
            made[given.id] = Supernode(
                supernode_id=tools.new_supernode_id(),
                label=given.label,
                role=given.role,
                members=tuple(FeatureAt.of(node) for node in members),
                influence=sum(survey.influence.get(node, 0.0) for node in members),
            )
        ids = {given: supernode.supernode_id for given, supernode in made.items()}
        keep(tools, _KEY, said.model_copy(update={"ids": ids}))
        ordered = tuple(sorted(made.values(), key=lambda s: (-s.influence, int(s.supernode_id[1:]))))
        faults += _missing_edges(
            said.answer, ids, {(e.source, e.destination) for e in circuit_edges(survey.full, ordered)}
        )
        return Proposal(ordered, told("group", faults))

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """The claims of the answer, or those of the templates where it leaves them to these.

        Raises:
            BudgetExceededError: a limit is reached.
        """
        said = self._said(tools, survey, names_of(survey.full))
        if said.answer.claims == "templates":
            return Proposal(propose_claims(tools, survey, labels, supernodes, HypothesisSettings(), DonorSettings()))
        view: CaseView = view_of(tools, survey, EvidenceSettings())
        claims, failures = claims_with_donors(view, said.answer.claims, supernodes, said.ids, self.given.max_claims)
        known = known_of(view, labels, supernodes, DonorBook(tools, view.facts).pairs(supernodes))
        typed, dropped = typed_claims(view, claims, known, self.given.max_claims)
        return Proposal(typed, failures + dropped)

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Nothing: it does not see its verdicts."""
        return Revision()

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """Its scores; influence where it gives none."""
        names = names_of(survey.full)
        scores = self._said(tools, survey, names).answer.scores
        if scores is None:
            return survey.influence
        return {node: scores[node_id] for node_id, node in names.nodes.items() if node_id in scores}

    def connect(
        self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...], edges: tuple[SupernodeEdge, ...]
    ) -> tuple[SupernodeEdge, ...]:
        """The edges of its answer that the graph has; all of them where it names none."""
        said = self._said(tools, survey, names_of(survey.full))
        if said.answer.edges is None:
            return edges
        wanted = {(said.ids.get(source, source), said.ids.get(end, end)) for source, end in said.answer.edges}
        return tuple(edge for edge in edges if (edge.source, edge.destination) in wanted)

    def _said(self, tools: CaseTools, survey: Survey, names: NodeNames) -> Said:
        """The one answer: asked for once, then remembered."""
        said = recall(tools, _KEY, Said)
        if said is None:
            said = self._asked(tools, survey, names)
            keep(tools, _KEY, said)
        self.last[:] = [said]
        return said

    def _asked(self, tools: CaseTools, survey: Survey, names: NodeNames) -> Said:
        self.last.clear()
        tools.meter.charge()  # refuses where no time is left
        left = tools.meter.seconds_left
        seconds = self.given.max_seconds if left is None else self.given.share_of_seconds * left
        case = case_document(tools, survey, seconds, self.given.max_claims, self.given.max_questions)
        talk = converse(
            self.program,
            case.model_dump(mode="json", by_alias=True),
            ActsOnCase(tools, survey, names).reply,
            TalkLimits(seconds=seconds, questions=self.given.max_questions),
        )
        cost = talk.answer.cost
        fault = None if cost is None else cost_fault(cost, talk.seconds, tools.meter.budget)
        if fault is not None:
            raise ExternalAgentError("dishonest cost", fault)
        return Said(answer=talk.answer, seconds=talk.seconds, questions=talk.questions)

    def told_cost(self) -> ToldCost | None:
        """What it said that the last case cost; None where it said nothing."""
        return self.last[0].answer.cost if self.last else None


def _unknown_ids(answer: ExternalAnswer, names: NodeNames) -> list[str]:
    """Scores of what is no feature node, counted; tokens and outputs may be ranked, and are not read."""
    scores = answer.scores or {}
    unknown = [i for i in scores if i not in names.nodes and i not in names.index]
    return [f"{len(unknown)} scores dropped: no node {unknown[0][:_SHOWN]!r}"] if unknown else []


def _missing_edges(answer: ExternalAnswer, ids: Mapping[str, str], there: set[tuple[str, str]]) -> list[str]:
    """Edges that the graph does not have, or has so weakly that no report tells them."""
    return [
        f"edge dropped: the graph has none from {source[:_SHOWN]!r} to {end[:_SHOWN]!r}"
        for source, end in answer.edges or ()
        if (ids.get(source, source), ids.get(end, end)) not in there
    ]
