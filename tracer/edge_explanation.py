"""Why one edge has its weight: its exact split by write layer, attention head, number of heads, position and path.

Edges are linear once attention patterns and norm denominators are frozen, so that every split here sums to the edge. The
parts have signs and may cancel: two heads can carry more than the whole edge against each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from tracescribe.tracer.edge_ends import EdgeEnds, EdgeSource, EdgeTarget, check_order
from tracescribe.tracer.edge_flow import EdgeFlow, Span, edge_flow
from tracescribe.tracer.edge_paths import EdgePath, strongest_paths
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.local_replacement import LocalReplacement, replace_locally
from tracescribe.tracer.logit_targets import TargetSpec
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True)
class ExplanationSettings:
    """How one edge is explained.

    Attributes:
        n_paths: single paths to list.
        max_expansions: work limit of the search for them; a larger one proves more lists complete.
        zero_positions: leading positions without features and errors; None takes the model's rule.
        targets: that the graph was traced with, where its outputs are combined (node numbers above the vocabulary).
    """

    n_paths: int = 10
    max_expansions: int = 256
    zero_positions: int | None = None
    targets: tuple[TargetSpec, ...] = ()

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {value}, expected {least} or more"
            for name, value, least in (("n_paths", self.n_paths, 1), ("max_expansions", self.max_expansions, 0))
            if value < least
        ]
        if self.zero_positions is not None and self.zero_positions < 0:
            faults.append(f"zero_positions is {self.zero_positions}, expected 0 or more")
        if faults:
            raise SettingError(f"explanation settings: {'; '.join(faults)}")


@dataclass(frozen=True)
class HeadPart:
    """What passes one attention head.

    Attributes:
        layer, head: the query head.
        weight: sum of all paths through it.
        by_place: the same by the number of heads before it on the path (0, 1, ...; the last entry: so many or more).
    """

    layer: int
    head: int
    weight: float
    by_place: tuple[float, ...]


@dataclass(frozen=True)
class Move:
    """What the heads of one layer carry from one position to another; `key == query` is attention to itself."""

    layer: int
    key: int
    query: int
    weight: float


@dataclass(frozen=True)
class EdgeExplanation:
    """One edge, split.

    Attributes:
        source, target: node ids.
        target_label: text of an output, else empty.
        weight: the edge.
        by_write: layer that the source writes to (-1: the bottom of the stream) and the part that enters there.
        by_hops: part of the paths with 0, 1, ... attention heads; the last entry: so many or more.
        heads: every head between the ends, largest part first.
        skips: layer and part of each transcoder skip path between the ends.
        positions: for each layer whose attention lies between the ends: the part that passes at each position just
            below it, from the source's position to the target's.
        moves: what heads carry between positions, largest part first.
        paths: the strongest single paths, largest part first.
        rest: what all paths that are not listed sum to.
        largest_unlisted: bound on the size of any path that is not listed.
        proved: whether no path that is not listed is larger than a listed one.
    """

    source: str
    target: str
    target_label: str
    weight: float
    by_write: tuple[tuple[int, float], ...]
    by_hops: tuple[float, ...]
    heads: tuple[HeadPart, ...]
    skips: tuple[tuple[int, float], ...]
    positions: tuple[tuple[int, tuple[float, ...]], ...]
    moves: tuple[Move, ...]
    paths: tuple[EdgePath, ...]
    rest: float
    largest_unlisted: float
    proved: bool

    def to_json(self) -> dict[str, Any]:
        """The explanation as plain JSON values."""
        return asdict(self)


def explain_edge(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    source: str,
    target: str,
    settings: ExplanationSettings | None = None,
) -> EdgeExplanation:
    """Split one edge of a prompt's graph.

    Args:
        model: the model.
        transcoders: a set that fits it.
        tokens: `[n_pos]`, taken as they are (`model.encode` puts BOS in front).
        source: id of a feature, an error or an embedding.
        target: id of a feature or an output; any token of the vocabulary is an output, whether the graph shows it or
            not.
        settings: the defaults if None.

    Raises:
        UnknownIdError: no such node in this prompt; the message lists near ones.
        SettingError: nodes between which no edge can run.
        TranscoderMismatchError: the set does not fit the model.
    """
    settings = settings or ExplanationSettings()
    masked = model.zero_positions_of(tokens) if settings.zero_positions is None else settings.zero_positions
    replacement = replace_locally(model, transcoders, tokens, masked)
    ends = EdgeEnds(model, replacement, settings.targets)
    return explain_ends(replacement, ends.source(source), ends.target(target), settings)


def explain_ends(
    replacement: LocalReplacement, source: EdgeSource, target: EdgeTarget, settings: ExplanationSettings | None = None
) -> EdgeExplanation:
    """Split the edge between two nodes of a prompt that is already frozen; many edges can share the frozen prompt.

    Raises:
        SettingError: nodes between which no edge can run.
    """
    settings = settings or ExplanationSettings()
    check_order(source, target)
    span = Span(replacement, source, target)
    flow = edge_flow(span)
    search = strongest_paths(span, settings.n_paths, settings.max_expansions)
    return EdgeExplanation(
        source=source.node_id,
        target=target.node_id,
        target_label=target.label,
        weight=flow.total,
        by_write=flow.by_write,
        by_hops=_numbers(flow.by_hops),
        heads=_head_parts(flow),
        skips=tuple(flow.skips.items()),
        positions=tuple((layer, _numbers(parts)) for layer, parts in flow.boundaries.items()),
        moves=_moves(flow, span),
        paths=search.paths,
        rest=flow.total - sum(path.weight for path in search.paths),
        largest_unlisted=search.largest_unlisted,
        proved=search.proved,
    )


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _head_parts(flow: EdgeFlow) -> tuple[HeadPart, ...]:
    parts = [
        HeadPart(layer, head, float(by_place.sum()), _numbers(by_place))
        for layer, heads in flow.heads.items()
        for head, by_place in enumerate(heads)
    ]
    return tuple(sorted(parts, key=lambda part: (-abs(part.weight), part.layer, part.head)))


def _moves(flow: EdgeFlow, span: Span) -> tuple[Move, ...]:
    parts = [
        Move(layer, key + span.first, query + span.first, weight)
        for layer, table in flow.moves.items()
        for query, row in enumerate(table.tolist())
        for key, weight in enumerate(row)
        if weight != 0
    ]
    return tuple(sorted(parts, key=lambda move: (-abs(move.weight), move.layer, move.key, move.query)))
