"""An investigator's desk: carries out typed actions on one case, and keeps its notebook.

Nothing here tests or judges anything: a claim is only written down, and the loop registers and tests it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.agents.claims import Claim, Frozen, supernodes_of
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.llm.actions import (
    ALLOWED,
    Action,
    DropSupernode,
    FindDonors,
    Finish,
    LabelFeature,
    ListFeatures,
    LookAtFeature,
    LookAtToken,
    MakeSupernode,
    Neighbours,
    ProposeClaims,
    Step,
)
from tracescribe.agents.llm.answers import NewSupernodeAnswer
from tracescribe.agents.llm.case_view import CaseView, Json, fitting
from tracescribe.agents.llm.circuit_view import donors_as_data, labels_as_data, supernodes_as_data
from tracescribe.agents.llm.claiming import known_of
from tracescribe.agents.llm.dialogue import PARTLY
from tracescribe.agents.llm.donor_book import DonorBook, not_yet_swapped
from tracescribe.agents.llm.evidence_view import context_ids
from tracescribe.agents.llm.feature_labels import feature_label
from tracescribe.agents.llm.groups import new_supernodes
from tracescribe.agents.llm.ids import read_node
from tracescribe.agents.llm.looking import look, places_in_graph
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.llm.regrouping import members_of
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.llm.typed_claims import checked_claims
from tracescribe.agents.llm.words import vocabulary_of
from tracescribe.tracer.errors import InputError, UnknownIdError
from tracescribe.tracer.graph import FeatureRef

MAX_PART_CHARS = 9_500
"""Of each of the four parts of a notebook as it is shown."""
MAX_FAULTS = 5
"""Of one action that are told one by one."""
TEMPLATE = "investigate"


class Notebook(Frozen):
    """What stands so far in one step.

    Attributes:
        labels: by the order in which they were made.
        supernodes: all, those of earlier steps first.
        made: ids of those made in this step.
        claims: proposed in this step.
        searched: supernodes that donors were looked for in this step.
    """

    labels: tuple[FeatureLabel, ...] = ()
    supernodes: tuple[Supernode, ...] = ()
    made: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    searched: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CaseDesk:
    """A `Desk` for one step of one case.

    Attributes:
        view: of the case.
        step: which tools are allowed.
        settings: of the agent.
        key: under which the notebook is kept.
        signature: who labels.
        max_claims: of this step.
        earlier: claims registered before.
    """

    view: CaseView
    step: Step
    settings: LlmAgentSettings
    key: str
    signature: str
    max_claims: int
    earlier: Sequence[Claim] = ()

    @property
    def notebook(self) -> Notebook:
        """As it stands."""
        return recall(self.view.tools, self.key, Notebook) or Notebook()

    def open(self, notebook: Notebook) -> None:
        """Begin with this notebook, unless this step has begun before."""
        if recall(self.view.tools, self.key, Notebook) is None:
            keep(self.view.tools, self.key, notebook)

    def act(self, action: Action) -> dict[str, Json]:
        """Carry out one action.

        Raises:
            InputError: it is not allowed now, or names something that does not exist.
            WorkError: it failed, or a limit is reached.
        """
        if action.tool not in ALLOWED[self.step]:
            raise InputError(f"{action.tool} is not a tool of the step {self.step}")
        match action:
            case ListFeatures() | LookAtFeature() | LookAtToken() | Neighbours():
                return look(self.view, action, self._label_texts(), self.settings.dialogue)
            case LabelFeature():
                return self._label(action)
            case MakeSupernode():
                return self._make(action)
            case DropSupernode():
                return self._drop(action)
            case FindDonors():
                return self._donors(action)
            case ProposeClaims():
                return self._claims(action)
            case Finish():
                return {"done": True}

    def as_data(self) -> dict[str, Json]:
        """The notebook as the model is shown it."""
        notebook = self.notebook
        book = DonorBook(self.view.tools, self.view.facts)
        donors = not_yet_swapped(book.pairs(notebook.supernodes), self.earlier)
        return {
            "labels": fitting(labels_as_data(notebook.labels), MAX_PART_CHARS),
            "supernodes": fitting(supernodes_as_data(self.view, notebook.supernodes, members=True), MAX_PART_CHARS),
            "donors": fitting(donors_as_data(donors), MAX_PART_CHARS),
            "claims": fitting([claim.statement for claim in notebook.claims], MAX_PART_CHARS),
        }

    def _label(self, action: LabelFeature) -> dict[str, Json]:
        places = places_in_graph(self.view, action.feature)
        notebook = self.notebook
        ref = places[0].ref
        others = tuple(label for label in notebook.labels if FeatureRef(label.layer, label.feature) != ref)
        if len(others) >= self.settings.max_labels:
            raise InputError(f"{self.settings.max_labels} labels stand already, and no more are kept")
        label, wrong = feature_label(
            ref,
            action,
            vocabulary_of(self.view.tools, self.view.survey),
            self.signature,
            context_ids(self.view, places[0]),
        )
        if label in notebook.labels:
            raise InputError(f"feature {ref} has this label already")
        self._keep(notebook, labels=(*others, label))
        return {"labelled": str(ref), **_told(wrong)}

    def _make(self, action: MakeSupernode) -> dict[str, Json]:
        notebook = self.notebook
        new = [s for s in notebook.supernodes if s.supernode_id in notebook.made]
        nodes = [node for text in action.members if (node := read_node(text)) in self.view.facts.row_of and node]
        made, faults = new_supernodes(
            [NewSupernodeAnswer(id="new", members=action.members, label=action.label, role=action.role)],
            members_of(self.view, notebook.labels, nodes),
            self.view.tools.new_supernode_id,
            existing=notebook.supernodes,
            taken=[member.node for supernode in new for member in supernode.members],
            most=self.settings.dialogue.max_supernodes - len(new),
        )
        if not made:
            raise InputError("; ".join(faults[:3]) or "no supernode was made")
        supernode = made["new"]
        self._keep(
            notebook,
            supernodes=(*notebook.supernodes, supernode),
            made=(*notebook.made, supernode.supernode_id),
        )
        return {"supernode": supernode.supernode_id, "members": len(supernode.members), **_told(faults)}

    def _drop(self, action: DropSupernode) -> dict[str, Json]:
        notebook = self.notebook
        if action.supernode not in notebook.made:
            raise UnknownIdError(f"no supernode {action.supernode[:20]!r} was made in this step")
        if any(action.supernode in supernodes_of(claim) for claim in notebook.claims):
            raise InputError(f"a claim is about {action.supernode}")
        self._keep(
            notebook,
            supernodes=tuple(s for s in notebook.supernodes if s.supernode_id != action.supernode),
            made=tuple(i for i in notebook.made if i != action.supernode),
        )
        return {"taken_back": action.supernode}

    def _donors(self, action: FindDonors) -> dict[str, Json]:
        notebook = self.notebook
        supernode = {s.supernode_id: s for s in notebook.supernodes}.get(action.supernode)
        if supernode is None:
            raise UnknownIdError(f"no supernode {action.supernode[:20]!r}")
        if not self.view.tools.can_test:
            raise InputError(f"no donors can be found: {self.view.tools.why_untestable()}")
        if len(notebook.searched) >= self.settings.max_swapped:
            raise InputError(
                f"donors were looked for {self.settings.max_swapped} times in this step, and no more can be"
            )
        self._keep(notebook, searched=(*notebook.searched, action.supernode))
        book = DonorBook(self.view.tools, self.view.facts)
        found = book.look(supernode)
        pairs = not_yet_swapped(book.pairs(notebook.supernodes), self.earlier)
        return {"donors": donors_as_data({i: pairs[i] for i in found if i in pairs})}

    def _claims(self, action: ProposeClaims) -> dict[str, Json]:
        notebook = self.notebook
        room = self.max_claims - len(notebook.claims)
        if room <= 0:
            raise InputError(f"{self.max_claims} claims stand already, and no more are tested in this step")
        book = DonorBook(self.view.tools, self.view.facts)
        known = known_of(self.view, notebook.labels, notebook.supernodes, book.pairs(notebook.supernodes))
        claims, faults = checked_claims(
            self.view, action.claims, known, room, earlier=(*self.earlier, *notebook.claims)
        )
        if not claims:
            raise InputError("; ".join(faults[:3]))
        self._keep(notebook, claims=(*notebook.claims, *claims))
        return {"proposed": [claim.statement for claim in claims], **_told(faults)}

    def _label_texts(self) -> dict[FeatureRef, str]:
        return {FeatureRef(label.layer, label.feature): label.text for label in self.notebook.labels}

    def _keep(self, notebook: Notebook, **changed: object) -> None:
        keep(self.view.tools, self.key, notebook.model_copy(update=changed))


def _told(faults: Sequence[str]) -> dict[str, Json]:
    """Faults of an action that was carried out in part: the first few, and their number."""
    if not faults:
        return {}
    more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
    return {PARTLY: [*faults[:MAX_FAULTS], *more]}
