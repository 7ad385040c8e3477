"""From a language model's answer to supernodes: groups merged, split and renamed, never mixed in kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Role, Supernode
from tracescribe.agents.grouping.supernodes import SAYING
from tracescribe.agents.llm.answers import NewSupernodeAnswer, SupernodeAnswer
from tracescribe.agents.llm.ids import node_id, read_node
from tracescribe.agents.llm.told import told
from tracescribe.agents.report import StepFailure
from tracescribe.tracer.graph import FeatureNode


@dataclass(frozen=True)
class Members:
    """Which features may be grouped.

    Attributes:
        role: of each feature, as the graph shows it; what is not in it cannot be named.
        influence: of each feature.
    """

    role: Mapping[FeatureNode, Role]
    influence: Mapping[FeatureNode, float]

    def says(self, node: FeatureNode) -> bool:
        """Whether a feature acts on the output."""
        return self.role[node] in SAYING


@dataclass
class _Choice:
    """The members of one supernode as they are gathered: one kind only, no feature twice."""

    members: Members
    used: set[FeatureNode]
    faults: list[str]
    chosen: list[FeatureNode] = field(default_factory=list)

    def take(self, node: FeatureNode, name: str) -> bool:
        """Take a feature, or tell why not."""
        if node in self.used:
            self.faults.append(f"{name} is used twice")
        elif self.chosen and self.members.says(node) != self.members.says(self.chosen[0]):
            first = node_id(self.chosen[0])
            self.faults.append(f"{name} says words and {first} reads them, or the reverse")
        else:
            self.used.add(node)
            self.chosen.append(node)
            return True
        return False

    def take_named(self, text: str) -> None:
        """Take a feature by its id."""
        node = read_node(text)
        if node is None or node not in self.members.role:
            self.faults.append(f"feature {text[:20]!r} is unknown")
        else:
            self.take(node, f"feature {node_id(node)}")

    def supernode(self, supernode_id: str, label: str, role: Role) -> Supernode:
        """The chosen members as a supernode."""
        # What the graph shows decides whether a supernode says or reads; the model decides what it says or reads.
        shown = self.members.role[self.chosen[0]]
        return Supernode(
            supernode_id=supernode_id,
            label=label,
            role=role if (role in SAYING) == (shown in SAYING) else shown,
            members=tuple(FeatureAt.of(node) for node in self.chosen),
            influence=sum(self.members.influence[node] for node in self.chosen),
        )


def formed_groups(
    candidates: Sequence[Supernode],
    answers: Sequence[SupernodeAnswer],
    influence: Mapping[FeatureNode, float],
    new_id: Callable[[], str],
) -> tuple[tuple[Supernode, ...], tuple[StepFailure, ...]]:
    """Supernodes, most influential first, and what was dropped and why.

    A supernode keeps the id of the first group that it takes members from, unless another one has it. A group or feature
    that is unknown, used before, or of another kind than the first is left out; so are members that no answer names.
    """
    members = Members({m.node: group.role for group in candidates for m in group.members}, influence)
    home = {m.node: group.supernode_id for group in candidates for m in group.members}
    groups = {group.supernode_id: group for group in candidates}
    used: set[FeatureNode] = set()
    ids: set[str] = set()
    faults: list[str] = []
    supernodes: list[Supernode] = []
    for answer in answers:
        choice = _Choice(members, used, faults)
        for group_id in answer.groups:
            if group_id not in groups:
                faults.append(f"group {group_id[:20]!r} is unknown")
            else:
                _take_group(choice, groups[group_id])
        for text in answer.members:
            choice.take_named(text)
        if not choice.chosen:
            continue
        own = home[choice.chosen[0]]
        supernode_id = own if own not in ids else new_id()
        ids.add(supernode_id)
        supernodes.append(choice.supernode(supernode_id, answer.label, answer.role))
    supernodes.sort(key=lambda supernode: (-supernode.influence, int(supernode.supernode_id[1:])))
    return tuple(supernodes), told("group", [f"dropped: {fault}" for fault in faults])


def _take_group(choice: _Choice, group: Supernode) -> None:
    """What is left of a group: members that another supernode took out of it before are no fault of this one."""
    left = [member.node for member in group.members if member.node not in choice.used]
    if not left:
        choice.faults.append(f"group {group.supernode_id} is used twice")
    for node in left:
        if not choice.take(node, f"group {group.supernode_id}"):
            return  # all members of a group are of one kind: one reason is enough


def new_supernodes(
    answers: Iterable[NewSupernodeAnswer],
    members: Members,
    new_id: Callable[[], str],
    *,
    existing: Sequence[Supernode] = (),
    taken: Iterable[FeatureNode] = (),
    most: int,
) -> tuple[dict[str, Supernode], tuple[str, ...]]:
    """Supernodes made from single features, by the id that the answer gave them, and what was dropped and why.

    Args:
        existing: those that stand; the same members again are dropped. A new supernode may share features with them,
            not with another new one.
        taken: features that cannot be used again.
        most: supernodes kept.
    """
    standing = {frozenset(m.node for m in supernode.members): supernode.supernode_id for supernode in existing}
    taken_ids = {supernode.supernode_id for supernode in existing}
    used = set(taken)
    faults: list[str] = []
    made: dict[str, Supernode] = {}
    for number, answer in enumerate(answers):
        if len(made) == most:
            faults.append(f"supernodes from number {number + 1} on are more than the {most} asked for")
            break
        if answer.id in made or answer.id in taken_ids:
            faults.append(f"supernode id {answer.id[:20]!r} is used twice")
            continue
        choice = _Choice(members, used, faults)
        for text in answer.members:
            choice.take_named(text)
        same = standing.get(frozenset(choice.chosen))
        if same is not None:
            faults.append(f"supernode {answer.id[:20]!r} has the members of {same}")
        elif not choice.chosen:
            faults.append(f"supernode {answer.id[:20]!r} has no member that could be used")
        else:
            made[answer.id] = choice.supernode(new_id(), answer.label, answer.role)
    return made, tuple(faults)
