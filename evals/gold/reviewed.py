"""Gold from a report that a person has accepted or corrected."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.agents.report import CircuitReport
from tracescribe.evals.gold.checks import circuit_faults, raise_if
from tracescribe.evals.gold.ids import file_safe
from tracescribe.evals.gold.parts import GoldEdge, GoldGraph, GoldSource, GoldSupernode, GoldTarget, ModelStamp
from tracescribe.evals.gold.published import NOT_TOLD
from tracescribe.evals.gold.schema import GoldCircuit, ScoreKind
from tracescribe.tracer.errors import GoldFormatError, UnknownIdError

MAX_CORRECTIONS_BYTES = 1 << 22


class Corrections(BaseModel):
    """What a reviewer changed in a report; everything that is not named was accepted as it stands.

    Attributes:
        labels: other names, by supernode id.
        also_accepted: further names that would have been right, by supernode id.
        members: other members (node ids), by supernode id.
        removed: supernodes that are wrong.
        added: supernodes that the report misses: their names with their members.
        edges: all edges that hold, in place of the report's: source, destination, sign.
        undecided: node ids of which the reviewer cannot tell whether they matter.
        notes: in the reviewer's words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str] = Field(default_factory=dict)
    also_accepted: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()
    added: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    edges: tuple[GoldEdge, ...] | None = None
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    kinds: list[ScoreKind] = ["selection", "grouping", "labels", *(["edges"] if edges else [])]  # type: ignore[list-item]
    selected = tuple(dict.fromkeys(node for supernode, _ in supernodes for node in supernode.members))
    circuit = GoldCircuit(
        gold_id=file_safe(gold_id or f"reviewed-{report.report_id}"),
        family="reviewed",
        tags=("corrected",) if corrections != Corrections() else ("accepted",),
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
        targets=tuple(GoldTarget(node_id=t.node_id, token=t.token, probability=t.probability) for t in report.targets),
        supernodes=tuple(supernode for supernode, _ in supernodes),
        selected=selected,
        undecided=tuple(node for node in dict.fromkeys(corrections.undecided) if node not in selected),
        edges=edges,
        graph=graph,
        can_score=tuple(kinds),
        notes=corrections.notes,
    )
    raise_if(circuit_faults(circuit), f"reviewed circuit {circuit.gold_id}", "correct the corrections")
    return circuit


def _check_known(report: CircuitReport, corrections: Corrections) -> None:
    known = {supernode.supernode_id for supernode in report.supernodes}
    named = {*corrections.labels, *corrections.also_accepted, *corrections.members, *corrections.removed}
    strangers = sorted(named - known)
    if strangers:
        raise UnknownIdError(
            f"corrections name supernode {strangers[0]!r}, which report {report.report_id} does not have; "
            f"it has {', '.join(sorted(known)) or 'none'}"
        )


def _supernodes(report: CircuitReport, corrections: Corrections) -> list[tuple[GoldSupernode, str]]:
    """Supernodes that stand, each with its id in the report ("" for one that the reviewer added)."""
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
                    role=supernode.role,
                    members=tuple(dict.fromkeys(members)),
                ),
                old,
            )
        )
    for label, members in corrections.added.items():
        added = GoldSupernode(
            supernode_id=f"g{len(found) + 1}",
            label=label,
            accepted_labels=(label,),
            role="other",
            members=tuple(dict.fromkeys(members)),
        )
        found.append((added, ""))
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
