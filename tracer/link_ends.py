"""Which nodes the links of a graph file mean.

Old error ids (`0_{layer}_{position}`) collide with ids of layer-0 features. A link end with such an id is resolved by
what the layers allow, and by the order of links where the file keeps circuit-tracer's; otherwise the link is set aside,
never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.graph_document import LinkRow, NodeRow


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

    def resolve(self, links: Sequence[LinkRow], faults: list[str]) -> tuple[list[tuple[int, int]], list[int]]:
        """Source and target node of every link, and the links that were set aside as ambiguous."""
        pairs: list[tuple[int, int]] = []
        unsure: list[int] = []
        for i, link in enumerate(links):
            sources, targets = self.by_file_id.get(link.source), self.by_file_id.get(link.target)
            if sources is None or targets is None:
                end = "source" if sources is None else "target"
                faults.append(f"links[{i}].{end}: no node {getattr(link, end)!r}")
                pairs.append((-1, -1))
                continue
            # nothing flows into an error, so that a target is the feature of the two
            target = next((t for t in targets if self.nodes[t].kind != NodeKind.ERROR), targets[0])
            pairs.append((sources[0], target))
            if len(sources) > 1:
                unsure.append(i)
        aside = self._settle(links, pairs, unsure) if unsure and not faults else []
        self._refuse_repeats(pairs, set(aside), faults)
        return pairs, aside

    def _settle(self, links: Sequence[LinkRow], pairs: list[tuple[int, int]], unsure: list[int]) -> list[int]:
        """Decide ambiguous sources in `pairs`; returns the links that nothing decides."""
        rows: dict[int, list[int]] = {}  # links of each target, in file order
        for i, (_, target) in enumerate(pairs):
            rows.setdefault(target, []).append(i)
        ordered = self._in_node_order(pairs, rows, set(unsure))
        aside = []
        for i in unsure:
            feature, error = sorted(self.by_file_id[links[i].source], key=lambda n: self.nodes[n].kind)
            target = pairs[i][1]
            twins = [j for j in rows[target] if links[j].source == links[i].source]
            source: int | None = None
            if self.nodes[target].kind == NodeKind.FEATURE and self.nodes[target].layer <= self.nodes[error].layer:
                source = feature  # an error writes to its own layer, which the target has already read
            elif len(twins) == 2 and ordered:
                source = feature if i == twins[0] else error
            elif ordered:
                source = self._by_neighbours(i, rows[target], pairs, set(unsure), feature, error)
            if source is None:
                aside.append(i)
            else:
                pairs[i] = (source, target)
        return aside

    def _place(self, index: int) -> tuple[int, ...]:
        """Place of a node in circuit-tracer's node order."""
        node = self.nodes[index]
        return (int(node.kind), node.layer, node.position, node.feature)

    def _in_node_order(self, pairs: Sequence[tuple[int, int]], rows: Mapping[int, list[int]], unsure: set[int]) -> bool:
        """Whether each target's links list their sources in node order, as circuit-tracer writes them."""
        for row in rows.values():
            places = [self._place(pairs[i][0]) for i in row if i not in unsure]
            if places != sorted(places):
                return False
        return True

    def _by_neighbours(
        self,
        link: int,
        row: Sequence[int],
        pairs: Sequence[tuple[int, int]],
        unsure: set[int],
        feature: int,
        error: int,
    ) -> int | None:
        """The one of two sources that fits the order of a target's links, or None where both do."""
        at = row.index(link)
        before = [self._place(pairs[i][0]) for i in row[:at] if i not in unsure]
        after = [self._place(pairs[i][0]) for i in row[at + 1 :] if i not in unsure]
        fitting = [
            n
            for n in (feature, error)
            if all(place < self._place(n) for place in before) and all(self._place(n) < place for place in after)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _refuse_repeats(self, pairs: Sequence[tuple[int, int]], aside: set[int], faults: list[str]) -> None:
        seen: dict[tuple[int, int], int] = {}
        for i, pair in enumerate(pairs):
            if i in aside or pair[0] < 0:
                continue
            if pair in seen:
                source, target = (self.nodes[n].node_id for n in pair)
                faults.append(f"links[{i}]: repeats links[{seen[pair]}] from {source!r} to {target!r}")
            seen[pair] = i
