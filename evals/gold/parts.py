"""Parts of a gold circuit: its source, its weights, its graph, and what is in it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

GoldRole = Literal["input", "intermediate", "relation", "output", "suppressor", "other"]
SourceKind = Literal["oracle", "compiled", "human", "reviewed"]


class Frozen(BaseModel):
    """A part of a gold file: fixed once read, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GoldSource(Frozen):
    """Where a gold circuit comes from.

    Attributes:
        origin: repository, paper, person, or how it was computed.
        licence: SPDX id, or in words.
    """

    kind: SourceKind
    origin: str = Field(min_length=1)
    licence: str = Field(min_length=1)


class ModelStamp(Frozen):
    """The weights that a circuit is true of; hashes are None where a published circuit does not tell them."""

    model: str
    model_sha256: str | None
    transcoder: str
    transcoder_sha256: str | None


class GoldGraph(Frozen):
    """A graph file beside a gold file.

    Attributes:
        path: relative to the folder of the gold file, `/` between folders; never leads out of it.
        sha256: of the file's bytes; None where the source does not tell.
    """

    path: str = Field(min_length=1)
    sha256: str | None = None


class GoldTarget(Frozen):
    """An output token of the prompt: its logit node in a graph, its text, its probability where known."""

    node_id: str
    token: str
    probability: float | None = Field(default=None, ge=0, le=1)


class GoldSupernode(Frozen):
    """Feature nodes that carry one concept in this prompt.

    Attributes:
        label: the name people read; empty where people gave a group no name.
        accepted_labels: every name that counts as right, `label` among them.
        members: node ids; empty where the transcoder has no feature for the concept. People also group embeddings and
            outputs, and may put a node into two supernodes; the first one listed then counts where only one can.
        concept: what it stands for, `variable=value`, where the source tells it.
    """

    supernode_id: str = Field(pattern=r"^g[0-9]+$")
    label: str
    accepted_labels: tuple[str, ...] = Field(min_length=1)
    role: GoldRole
    members: tuple[str, ...]
    concept: str = ""


class GoldEdge(Frozen):
    """The source moves the destination: up for sign 1, down for sign -1.

    Attributes:
        source, destination: supernode ids, or node ids of embeddings and logits.
        visible: False where the effect runs through attention *patterns*, which a graph with frozen attention cannot
            show; such an edge is neither asked for nor counted as wrong.
        status: `undecided` where the measurement is too near its threshold: the edge counts neither as right nor as
            wrong, whatever sign is drawn.
        share: direct effect as a share of the destination's drive, where it was measured.
        total: total effect in the same unit, where it was measured.
    """

    source: str
    destination: str
    sign: Literal[1, -1] = 1
    visible: bool = True
    status: Literal["asked", "undecided"] = "asked"
    share: float | None = None
    total: float | None = None


class GoldTrap(Frozen):
    """The tempting answer of a distractor case: what an agent that does not test would claim, and that is wrong.

    Attributes:
        label: the name that the wrong concept would get.
        accepted_labels: every name that would count as that claim, `label` among them.
        members: feature nodes that fire here and carry the wrong concept elsewhere; none of them is selected.
        concept: what it stands for, `variable=value`.
        reason: why it is wrong, in words.
    """

    label: str = Field(min_length=1)
    accepted_labels: tuple[str, ...] = Field(min_length=1)
    members: tuple[str, ...] = ()
    concept: str = ""
    reason: str
