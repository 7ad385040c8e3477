"""Gold from a report that a person has accepted or corrected."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.agents.report import CircuitReport
from tracescribe.evals.gold.checks import circuit_faults, raise_if
from tracescribe.evals.gold.ids import file_safe
from tracescribe.evals.gold.parts import (
    GoldEdge,
    GoldGraph,
    GoldRole,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    ModelStamp,
)
from tracescribe.evals.gold.published import NOT_TOLD
from tracescribe.evals.gold.schema import GoldCircuit, ScoreKind
from tracescribe.tracer.errors import GoldFormatError, UnknownIdError

MAX_CORRECTIONS_BYTES = 1 << 22


class NewSupernode(BaseModel):
    """A supernode that the report misses.

    Attributes:
        supernode_id: a name that edges of the corrections may use; no supernode of the report has it.
        label: its name.
        role: what it does in the circuit.
        members: node ids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    supernode_id: str = Field(pattern=r"^n[0-9]+$")
    label: str = Field(min_length=1)
    role: GoldRole = "other"
    members: tuple[str, ...] = Field(min_length=1)


class Corrections(BaseModel):
    """What a reviewer changed in a report; everything that is not named was accepted as it stands.

    Attributes:
        labels: other names, by supernode id.
        also_accepted: further names that would have been right, by supernode id.
        members: other members (node ids), by supernode id.
        removed: supernodes that are wrong.
        roles: other roles, by supernode id.
        added: supernodes that the report misses: their names with their members.
        new: the same with roles, and with ids that edges may name.
        edges: all edges that hold, in place of the report's: source, destination, sign.
        edges_known: whether these are all; where they are not, the gold scores no edges.
        node_labels: accepted labels of single feature nodes, by node id; those of nodes that are not selected are left
            out.
        undecided: node ids of which the reviewer cannot tell whether they matter.
        notes: in the reviewer's words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str] = Field(default_factory=dict)
    also_accepted: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()
    roles: dict[str, GoldRole] = Field(default_factory=dict)
    added: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    new: tuple[NewSupernode, ...] = ()
    edges: tuple[GoldEdge, ...] | None = None
    edges_known: bool = True
    node_labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def change_nothing(self) -> bool:
        """Whether the report was accepted as it stands, whatever was noted beside it."""
        return self == Corrections(notes=self.notes)


def gold_of_report(
    report: CircuitReport,
    reviewer: str,
    licence: str,
    corrections: Corrections | None = None,
    *,
    gold_id: str | None = None,
    graph: GoldGraph | None = None,
) -> GoldCircuit:
    """A reviewed report as gold: what the reviewer let stand is true, and the rest of the graph plays no part.

    Supernodes that the report itself rejected are left out. Nothing causal is taken over: verdicts are the report's own
    measurements, and scoring an agent by its own measurements would test nothing.

    Args:
        report: valid.
        reviewer: who accepts it.
        licence: under which the gold may be used.
        corrections: what the reviewer changed.
        gold_id: of the circuit; made of the report's id if None.
        graph: its blinded graph beside the gold file, where there is one.

    Raises:
        UnknownIdError: a correction names a supernode that the report does not have.
        GoldFormatError: no reviewer or licence, nothing is left of the report, or the corrections contradict themselves.
    """
    corrections = corrections or Corrections()
    if not reviewer.strip() or not licence.strip():
        raise GoldFormatError(
            "a reviewed circuit needs the reviewer's name and a licence; give --reviewer and --licence"
        )
    _check_known(report, corrections)
    supernodes = _supernodes(report, corrections)
    if not any(supernode.members for supernode, _ in supernodes):
        raise GoldFormatError(f"report {report.report_id}: no supernode is left; nothing of it was accepted")
    renamed = {old: supernode.supernode_id for supernode, old in supernodes if old}
    edges = _edges(report, corrections, renamed)
    kinds: list[ScoreKind] = ["selection", "grouping", "labels"]
    if edges and corrections.edges_known:
        kinds.append("edges")
    selected = tuple(dict.fromkeys(node for supernode, _ in supernodes for node in supernode.members))
    node_labels = {node: labels for node, labels in corrections.node_labels.items() if labels and node in set(selected)}
    if node_labels:
        kinds.append("node_labels")
    try:
        circuit = GoldCircuit(
            gold_id=file_safe(gold_id or f"reviewed-{report.report_id}"),
            family="reviewed",
            tags=("accepted",) if corrections.change_nothing else ("corrected",),
            source=GoldSource(
                kind="reviewed",
                origin=f"report {report.report_id} of agent {report.provenance.agent}, reviewed by {reviewer.strip()}",
                licence=licence.strip(),
            ),
            stamp=ModelStamp(
                model=report.provenance.model or NOT_TOLD,
                model_sha256=report.provenance.model_sha256,
                transcoder=report.provenance.transcoder or NOT_TOLD,
                transcoder_sha256=report.provenance.transcoder_sha256,
            ),
            prompt=report.prompt,
            tokens=report.tokens,
            targets=tuple(
                GoldTarget(node_id=t.node_id, token=t.token, probability=t.probability) for t in report.targets
            ),
            supernodes=tuple(supernode for supernode, _ in supernodes),
            selected=selected,
            undecided=tuple(node for node in dict.fromkeys(corrections.undecided) if node not in selected),
            edges=edges,
            node_labels=node_labels,
            graph=graph,
            can_score=tuple(kinds),
            notes=corrections.notes,
        )
    except ValidationError as error:  # what a report may have and gold may not: no prompt, no name of a token
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise GoldFormatError(f"report {report.report_id[:40]} can be no gold: {where}: {first['msg']}") from error
    raise_if(circuit_faults(circuit), f"reviewed circuit {circuit.gold_id}", "correct the corrections")
    return circuit


def _check_known(report: CircuitReport, corrections: Corrections) -> None:
    known = {supernode.supernode_id for supernode in report.supernodes}
    named = {
        *corrections.labels,
        *corrections.also_accepted,
        *corrections.members,
        *corrections.removed,
        *corrections.roles,
    }
    strangers = sorted(named - known)
    if strangers:
        raise UnknownIdError(
            f"corrections name supernode {strangers[0]!r}, which report {report.report_id} does not have; "
            f"it has {', '.join(sorted(known)) or 'none'}"
        )


def _supernodes(report: CircuitReport, corrections: Corrections) -> list[tuple[GoldSupernode, str]]:
    """Supernodes that stand, each with its id in the report or in `new` ("" for one without)."""
    found: list[tuple[GoldSupernode, str]] = []
    for supernode in report.supernodes:
        old = supernode.supernode_id
        if old in corrections.removed or (supernode.rejected and old not in corrections.members):
            continue
        label = corrections.labels.get(old, supernode.label)
        members = corrections.members.get(old, tuple(member.node_id for member in supernode.members))
        found.append(
            (
                GoldSupernode(
                    supernode_id=f"g{len(found) + 1}",
                    label=label,
                    accepted_labels=tuple(dict.fromkeys((label, *corrections.also_accepted.get(old, ())))),
                    role=corrections.roles.get(old, supernode.role),
                    members=tuple(dict.fromkeys(members)),
                ),
                old,
            )
        )
    new: list[tuple[str, GoldRole, tuple[str, ...], str]] = []
    for label, members in corrections.added.items():
        new.append((label, "other", members, ""))
    for one in corrections.new:
        new.append((one.label, one.role, one.members, one.supernode_id))
    for label, role, members, name in new:
        added = GoldSupernode(
            supernode_id=f"g{len(found) + 1}",
            label=label,
            accepted_labels=(label,),
            role=role,
            members=tuple(dict.fromkeys(members)),
        )
        found.append((added, name))
    return found


def _edges(report: CircuitReport, corrections: Corrections, renamed: dict[str, str]) -> tuple[GoldEdge, ...]:
    """Edges that stand: the reviewer's, or the report's between supernodes that stand."""
    told = corrections.edges
    if told is None:
        told = tuple(
            GoldEdge(source=edge.source, destination=edge.destination, sign=1 if edge.weight > 0 else -1)
            for edge in report.edges
        )
    gone = {supernode.supernode_id for supernode in report.supernodes} - set(renamed)
    return tuple(
        edge.model_copy(
            update={
                "source": renamed.get(edge.source, edge.source),
                "destination": renamed.get(edge.destination, edge.destination),
            }
        )
        for edge in told
        if not gone & {edge.source, edge.destination}
    )
