"""From a language model's answer to supernodes: candidate groups merged and renamed, never mixed in kind."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.findings import Supernode
from tracescribe.agents.llm.answers import SupernodeAnswer
from tracescribe.agents.report import StepFailure

SAYING = ("output", "suppressor")
"""Roles that act on the output; what says a word and what reads one never share a supernode."""


def merged_groups(
    candidates: Sequence[Supernode], answers: Sequence[SupernodeAnswer]
) -> tuple[tuple[Supernode, ...], tuple[StepFailure, ...]]:
    """Supernodes, most influential first, and what was dropped and why.

    A supernode keeps the id of its first group. A group that is unknown, used before, or of another kind than the first
    is left out.
    """
    left = {group.supernode_id: group for group in candidates}
    known = frozenset(left)
    supernodes: list[Supernode] = []
    dropped: list[str] = []
    for answer in answers:
        groups: list[Supernode] = []
        for group_id in answer.groups:
            group = left.get(group_id)
            if group is None:
                dropped.append(f"group {group_id[:20]!r} is {'used twice' if group_id in known else 'unknown'}")
            elif groups and (group.role in SAYING) != (groups[0].role in SAYING):
                dropped.append(f"group {group_id} says words and {groups[0].supernode_id} reads them, or the reverse")
            else:
                groups.append(left.pop(group_id))
        if groups:
            supernodes.append(_merged(groups, answer))
    supernodes.sort(key=lambda supernode: (-supernode.influence, int(supernode.supernode_id[1:])))
    return tuple(supernodes), tuple(StepFailure(step="group", error=f"dropped: {reason}") for reason in dropped)


def _merged(groups: Sequence[Supernode], answer: SupernodeAnswer) -> Supernode:
    # What the graph shows decides whether a supernode says or reads; the model decides what it says or reads.
    saying = groups[0].role in SAYING
    return Supernode(
        supernode_id=groups[0].supernode_id,
        label=answer.label,
        role=answer.role if (answer.role in SAYING) == saying else groups[0].role,
        members=tuple(member for group in groups for member in group.members),
        influence=sum(group.influence for group in groups),
    )
