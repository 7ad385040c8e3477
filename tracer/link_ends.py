"""Which nodes the links of a graph file mean.

Old error ids (`0_{layer}_{position}`) collide with ids of layer-0 features. A link end with such an id is resolved by
what the layers allow, and by the order of links where the file keeps circuit-tracer's; otherwise the link is set aside,
never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.graph_document import MAX_FAULTS, LinkColumns
from tracescribe.tracer.graph_rows import NodeRow


@dataclass(frozen=True)
class ImportedNode:
    """One node, its kind known and its id unique."""

    node_id: str
    kind: NodeKind
    layer: int
    position: int
    feature: int
    row: NodeRow


class LinkEnds:
    """Finds the nodes that links mean."""

    def __init__(self, nodes: Sequence[ImportedNode]) -> None:
        self.nodes = nodes
        self.by_file_id: dict[str, list[int]] = {}  # ids as the file spells them, each with one or two nodes
        for index, node in enumerate(nodes):
            self.by_file_id.setdefault(node.row.node_id, []).append(index)

    def resolve(self, links: LinkColumns, faults: list[str]) -> tuple[list[tuple[int, int]], list[int]]:
        """Source and target node of every link, and the links that were set aside as ambiguous."""
        pairs: list[tuple[int, int]] = []
        unsure: list[int] = []
        for i, (source_id, target_id) in enumerate(zip(links.source, links.target, strict=True)):
            sources, targets = self.by_file_id.get(source_id), self.by_file_id.get(target_id)
            if sources is None or targets is None:
                end, node_id = ("source", source_id) if sources is None else ("target", target_id)
                if len(faults) < MAX_FAULTS:
                    faults.append(f"links[{i}].{end}: no node {node_id!r}")
                pairs.append((-1, -1))
                continue
            # nothing flows into an error, so that a target is the feature of the two
            target = targets[0]
            if len(targets) > 1 and self.nodes[target].kind == NodeKind.ERROR:
                target = targets[1]
            pairs.append((sources[0], target))
            if len(sources) > 1:
                unsure.append(i)
        aside = self._settle(links, pairs, unsure) if unsure and not faults else []
        self._refuse_repeats(pairs, set(aside), faults)
        return pairs, aside

    def _settle(self, links: LinkColumns, pairs: list[tuple[int, int]], unsure: list[int]) -> list[int]:
        """Decide ambiguous sources in `pairs`; returns the links that nothing decides."""
        rows: dict[int, list[int]] = {}  # links of each target, in file order
        for i, (_, target) in enumerate(pairs):
            rows.setdefault(target, []).append(i)
        open_links = set(unsure)
        ordered = self._in_node_order(pairs, rows, open_links)
        aside = []
        for row in rows.values():
            if not open_links.isdisjoint(row):
                aside += self._settle_row(row, links, pairs, open_links, ordered)
        return sorted(aside)

    def _settle_row(
        self, row: Sequence[int], links: LinkColumns, pairs: list[tuple[int, int]], unsure: set[int], ordered: bool
    ) -> list[int]:
        """`_settle` for the links of one target, in time that grows with their number only."""
        twins: dict[str, list[int]] = {}
        for i in row:
            twins.setdefault(links.source[i], []).append(i)
        before, after = self._neighbours(row, pairs, unsure)
        aside = []
        for i in row:
            if i not in unsure:
                continue
            target, candidates = pairs[i][1], self.by_file_id[links.source[i]]
            error = next((n for n in candidates if self.nodes[n].kind == NodeKind.ERROR), candidates[-1])
            other = next(n for n in candidates if n != error)
            source: int | None = None
            if self.nodes[other].kind != NodeKind.FEATURE:
                source = error  # an output token leads nowhere
            elif self.nodes[target].kind == NodeKind.FEATURE and self.nodes[target].layer <= self.nodes[error].layer:
                source = other  # an error writes to its own layer, which the target has already read
            elif ordered and len(both := twins[links.source[i]]) == 2:
                source = other if i == both[0] else error
            elif ordered:
                fitting = [
                    n
                    for n in (other, error)
                    if (before[i] is None or self._place(before[i]) < self._place(n))
                    and (after[i] is None or self._place(n) < self._place(after[i]))
                ]
                source = fitting[0] if len(fitting) == 1 else None
            if source is None:
                aside.append(i)
            else:
                pairs[i] = (source, target)
        return aside

    def _place(self, index: int | None) -> tuple[int, ...]:
        """Place of a node in circuit-tracer's node order."""
        assert index is not None
        node = self.nodes[index]
        return (int(node.kind), node.layer, node.position, node.feature)

    def _in_node_order(self, pairs: Sequence[tuple[int, int]], rows: Mapping[int, list[int]], unsure: set[int]) -> bool:
        """Whether each target's links list their sources in node order, as circuit-tracer writes them."""
        for row in rows.values():
            places = [self._place(pairs[i][0]) for i in row if i not in unsure]
            if places != sorted(places):
                return False
        return True

    def _neighbours(
        self, row: Sequence[int], pairs: Sequence[tuple[int, int]], unsure: set[int]
    ) -> tuple[dict[int, int | None], dict[int, int | None]]:
        """For each open link of a row, the source of the nearest settled link before it, and after it."""
        found: list[dict[int, int | None]] = []
        for sequence in (row, reversed(row)):
            nearest: int | None = None
            seen: dict[int, int | None] = {}
            for i in sequence:
                if i in unsure:
                    seen[i] = nearest
                else:
                    nearest = pairs[i][0]
            found.append(seen)
        return found[0], found[1]

    def _refuse_repeats(self, pairs: Sequence[tuple[int, int]], aside: set[int], faults: list[str]) -> None:
        seen: dict[tuple[int, int], int] = {}
        for i, pair in enumerate(pairs):
            if i in aside or pair[0] < 0:
                continue
            if pair in seen and len(faults) < MAX_FAULTS:
                source, target = (self.nodes[n].node_id for n in pair)
                faults.append(f"links[{i}]: repeats links[{seen[pair]}] from {source!r} to {target!r}")
            seen[pair] = i
