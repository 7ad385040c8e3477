"""The closed set of acts of a review. A review is the list of its acts; what it comes to is computed from them.

An act changes the reviewer's view of a report, never the report. What an act is about is named by a target:

    report                  the report as a whole
    label:LAYER/FEATURE     the label of a feature
    supernode:s1            a supernode of the report, or `supernode:n7`, one that the review's seventh act made
    edge:SOURCE>DESTINATION a link; ends are supernode ids, or node ids of embeddings and logits
    claim:c1                a claim
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints, TypeAdapter

from tracescribe.agents.findings import Role
from tracescribe.runs.strict_models import StrictModel

MAX_TEXT = 2000
"""Characters of a comment or a reason."""
MAX_LABEL = 200
"""Characters of a label."""
MAX_MEMBERS = 10_000
"""Node ids in one act."""
MAX_ACTS = 10_000
"""Acts of one review; then it can be closed, and nothing else."""

Decision = Literal["accepted", "rejected", "open"]
"""`open` takes a decision back."""
ReviewStatus = Literal["open", "accepted", "rejected"]
"""`open`: being worked on; `accepted`: the report, as corrected, is true and can become gold; `rejected`: it is not."""

Target = Annotated[
    str,
    StringConstraints(
        max_length=300,
        pattern=r"^(report|label:[0-9]{1,6}/[0-9]{1,9}|supernode:[sn][0-9]{1,9}|claim:c[0-9]{1,9}|edge:[A-Za-z0-9_-]{1,120}>[A-Za-z0-9_-]{1,120})$",
    ),
]
SupernodeId = Annotated[str, StringConstraints(pattern=r"^[sn][0-9]{1,9}$")]
NodeId = Annotated[str, StringConstraints(max_length=120, pattern=r"^[A-Za-z0-9_-]{1,120}$")]
NodeIds = Annotated[tuple[NodeId, ...], Field(min_length=1, max_length=MAX_MEMBERS, fail_fast=True)]
LabelText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LABEL)]


class Judge(StrictModel):
    """Accept or reject one thing. A rejected supernode or edge is no part of the gold that the review makes."""

    kind: Literal["judge"] = "judge"
    target: Target
    decision: Decision


class Comment(StrictModel):
    """Say something about one thing; comments stay when other acts are undone, unless they are undone themselves."""

    kind: Literal["comment"] = "comment"
    target: Target
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]


class RelabelFeature(StrictModel):
    """Give a feature another label."""

    kind: Literal["relabel feature"] = "relabel feature"
    layer: int = Field(ge=0, le=999_999, strict=True)
    feature: int = Field(ge=0, le=999_999_999, strict=True)
    text: LabelText


class RenameSupernode(StrictModel):
    """Give a supernode another label."""

    kind: Literal["rename supernode"] = "rename supernode"
    supernode: SupernodeId
    text: LabelText


class SetRole(StrictModel):
    """Say what a supernode does in the circuit."""

    kind: Literal["set role"] = "set role"
    supernode: SupernodeId
    role: Role


class MoveNodes(StrictModel):
    """Put feature nodes into a supernode, out of those that they were in.

    Attributes:
        to: the supernode; None takes them out of every one.
    """

    kind: Literal["move nodes"] = "move nodes"
    nodes: NodeIds
    to: SupernodeId | None


class MergeSupernodes(StrictModel):
    """Put all members of some supernodes into another; the emptied ones are gone, their links with them."""

    kind: Literal["merge supernodes"] = "merge supernodes"
    supernodes: tuple[SupernodeId, ...] = Field(min_length=1, max_length=1000, fail_fast=True)
    into: SupernodeId


class SplitSupernode(StrictModel):
    """Make a new supernode of some members of one. It gets the id `n` and the act's version."""

    kind: Literal["split supernode"] = "split supernode"
    supernode: SupernodeId
    nodes: NodeIds
    label: LabelText


class AddSupernode(StrictModel):
    """Make a new supernode of feature nodes of the graph, out of those that they were in. Its id is as of a split."""

    kind: Literal["add supernode"] = "add supernode"
    nodes: NodeIds
    label: LabelText
    role: Role = "other"


class SetEdge(StrictModel):
    """Add a link that the report misses, or give one another sign."""

    kind: Literal["set edge"] = "set edge"
    source: NodeId
    destination: NodeId
    sign: Literal[1, -1]


class MarkUndecided(StrictModel):
    """Say of nodes that nobody can tell whether they matter, or take that back."""

    kind: Literal["mark undecided"] = "mark undecided"
    nodes: NodeIds
    undecided: StrictBool = True


class Undo(StrictModel):
    """Take back the last act that stands."""

    kind: Literal["undo"] = "undo"


class Redo(StrictModel):
    """Do again what was undone last, as long as nothing else was done since."""

    kind: Literal["redo"] = "redo"


class Close(StrictModel):
    """End the review with a decision about the whole report. Other acts need it open again."""

    kind: Literal["close"] = "close"
    status: Literal["accepted", "rejected"]


class Reopen(StrictModel):
    """Go on with a review that was closed."""

    kind: Literal["reopen"] = "reopen"


Act = Annotated[
    Judge
    | Comment
    | RelabelFeature
    | RenameSupernode
    | SetRole
    | MoveNodes
    | MergeSupernodes
    | SplitSupernode
    | AddSupernode
    | SetEdge
    | MarkUndecided
    | Undo
    | Redo
    | Close
    | Reopen,
    Field(discriminator="kind"),
]
act_adapter: TypeAdapter[Act] = TypeAdapter(Act)
