"""What is planted in one prompt: which units are at work, what drives what, and what the answer depends on.

Everything here follows from the network alone. Nothing is measured on weights: that is what it is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tracescribe.evals.compiled.network import BOS, Floats, PlantedRun, out_channel, token_channel
from tracescribe.evals.compiled.programs.common import Program, Slots
from tracescribe.evals.gold import SWAP_HOLDS, GoldRole

End = str | tuple[int, int]
"""An end of a planted link: a unit at a position, an input word, or the answer's logit."""
LOGIT = "answer"
"""The name of the answer's logit as an end of planted links."""
_NOTHING = 1e-6
"""Links below it are what a softmax leaves to words that a head does not look at."""


def token_end(position: int) -> str:
    """The name of an input word as an end of planted links."""
    return f"word {position}"


@dataclass(frozen=True)
class PlantedSupernode:
    """A unit at work: at one position, or wherever it stands if its concept spreads.

    Attributes:
        concept: its number in the network.
        positions: where it is at work and the answer depends on it.
        role: as its concept has it, or `suppressor` if it holds down everything that it reaches.
    """

    concept: int
    positions: tuple[int, ...]
    role: GoldRole


@dataclass(frozen=True, eq=False)
class PlantedPrompt:
    """One prompt of a program, with its truth."""

    program: Program
    slots: Slots

    @cached_property
    def words(self) -> tuple[str, ...]:
        """`<bos>` first."""
        return (BOS, *self.program.sentence(self.slots))

    @cached_property
    def answer(self) -> str:
        """As the algorithm gives it."""
        return self.program.answer(self.slots)

    @cached_property
    def run(self) -> PlantedRun:
        """The network's run."""
        return self.program.network.run(self.words)

    @cached_property
    def instances(self) -> tuple[tuple[int, int], ...]:
        """Units that are active, as (concept, position)."""
        found = np.argwhere(self.run.activations > 0)
        return tuple((int(concept), int(position)) for concept, position in found if position)

    @cached_property
    def links(self) -> Mapping[tuple[End, End], float]:
        """What active units and words add directly to the drive of active units and of the answer's logit."""
        network = self.program.network
        found: dict[tuple[End, End], float] = {}
        for instance in self.instances:
            concept = network.concepts[instance[0]]
            start = np.zeros_like(self.run.streams[0])
            start[instance[1]] = self.run.activations[instance] * network.vector(concept.written)
            for target, value in self._reached(start, concept.layer + 1).items():
                found[instance, target] = value
        for position in range(1, len(self.words)):
            start = np.zeros_like(self.run.streams[0])
            start[position, network.index[token_channel(self.words[position])]] = 1.0
            for target, value in self._reached(start, 0).items():
                found[token_end(position), target] = value
        return found

    @cached_property
    def pattern_links(self) -> frozenset[tuple[tuple[int, int], tuple[int, int]]]:
        """Pairs of units of which the first makes a head look where the second's input comes from."""
        network, found = self.program.network, set()
        for number, head in enumerate(network.heads):
            for query, row in enumerate(self.run.patterns[number]):
                key = int(row.argmax())
                if not key:
                    continue  # it rests on the first token
                start = np.zeros_like(self.run.streams[0])
                before = self._before(head.layer)
                for source, destination in head.moves.items():
                    start[query, network.index[destination]] += row[key] * before[key, network.index[source]]
                readers = [t for t in self._reached(start, head.layer, arrived=True) if isinstance(t, tuple)]
                for instance in self.instances:
                    if self._steers(instance, number, query, key):
                        found |= {(instance, reader) for reader in readers if reader != instance}
        return frozenset(found)

    def _before(self, layer: int) -> Floats:
        """Stream that the heads of a layer read, `[n_pos, n_channels]`."""
        network, x = self.program.network, np.array(self.run.streams[layer])
        for head in network.heads:
            if head.layer == layer:
                for channel in head.moves.values():
                    x[:, network.index[channel]] = 0.0  # no channel is written by two heads or by a head and a unit
        return x

    def _steers(self, instance: tuple[int, int], number: int, query: int, key: int) -> bool:
        network = self.program.network
        head, concept = network.heads[number], network.concepts[instance[0]]
        if concept.layer >= head.layer:
            return False
        start = np.zeros_like(self.run.streams[0])
        start[instance[1]] = self.run.activations[instance] * network.vector(concept.written)
        change = self._flow(start, concept.layer + 1, head.layer)
        before = self._before(head.layer)
        for match in head.matches:
            if not match.query:
                continue
            asks, answers = before[query, network.index[match.query]], before[key, network.index[match.key]]
            own = (change[query, network.index[match.query]], change[key, network.index[match.key]])
            if abs(own[0] * answers) + abs(asks * own[1]) > _NOTHING:
                return True
        return False

    def _flow(self, change: Floats, first: int, last: int) -> Floats:
        """A change of the stream before a layer, carried by heads to before another."""
        for layer in range(first, last):
            change = change + self._moved(change, layer)
        return change

    def _moved(self, change: Floats, layer: int) -> Floats:
        network, moved = self.program.network, np.zeros_like(change)
        for number, head in enumerate(network.heads):
            if head.layer == layer:
                for source, destination in head.moves.items():
                    moved[:, network.index[destination]] += self.run.patterns[number] @ change[:, network.index[source]]
        return moved

    def _reached(self, change: Floats, first: int, arrived: bool = False) -> dict[End, float]:
        """What a change of the stream before a layer (or, `arrived`, after its heads) adds to every drive."""
        network = self.program.network
        found: dict[End, float] = {}
        for layer in range(first, network.n_layers):
            if not (arrived and layer == first):
                change = change + self._moved(change, layer)
            for concept, position in self.instances:
                if network.concepts[concept].layer == layer:
                    value = float(change[position] @ network.vector(network.concepts[concept].reads))
                    if abs(value) > _NOTHING:
                        found[concept, position] = value
        value = float(change[-1, network.index[out_channel(self.answer)]])
        if abs(value) > _NOTHING:
            found[LOGIT] = value
        return found

    @cached_property
    def at_work(self) -> frozenset[tuple[int, int]]:
        """Active units from which a path leads to the answer, through what they write or where they make heads look."""
        into: dict[End, set[tuple[int, int]]] = {}
        for source, target in (*self.links, *self.pattern_links):
            if isinstance(source, tuple):
                into.setdefault(target, set()).add(source)
        found: set[tuple[int, int]] = set()
        waiting = list(into.get(LOGIT, ()))
        while waiting:
            instance = waiting.pop()
            if instance not in found:
                found.add(instance)
                waiting += into.get(instance, ())
        return frozenset(found)

    @cached_property
    def supernodes(self) -> tuple[PlantedSupernode, ...]:
        """The units at work, by layer and first position."""
        concepts = self.program.network.concepts
        grouped: dict[tuple[int, int], list[int]] = {}
        for concept, position in sorted(self.at_work):
            grouped.setdefault((concept, 0 if concepts[concept].spread else position), []).append(position)
        found = [
            PlantedSupernode(concept, tuple(positions), self._role(concept, tuple(positions)))
            for (concept, _), positions in grouped.items()
        ]
        return tuple(sorted(found, key=lambda one: (concepts[one.concept].layer, one.positions, one.concept)))

    def _role(self, concept: int, positions: tuple[int, ...]) -> GoldRole:
        own = {(concept, position) for position in positions}
        ends = {LOGIT, *self.at_work}
        values = [value for (source, target), value in self.links.items() if source in own and target in ends]
        return "suppressor" if values and max(values) < 0 else self.program.network.concepts[concept].role

    def instances_of(self, supernode: PlantedSupernode) -> tuple[tuple[int, int], ...]:
        """The units of a supernode."""
        return tuple((supernode.concept, position) for position in supernode.positions)

    def without(self, supernode: PlantedSupernode) -> float:
        """Probability of the answer when a supernode is silent."""
        network = self.program.network
        edits = dict.fromkeys(self.instances_of(supernode), 0.0)
        return network.probabilities(network.run(self.words, edits))[self.answer]

    def swapped(self, supernode: PlantedSupernode, donor: PlantedPrompt, other: PlantedSupernode) -> str | None:
        """The answer when a supernode gives way to one of another prompt; None where none gets half of the probability.

        Args:
            other: the donor's, at the same positions.
        """
        network = self.program.network
        edits = dict.fromkeys(self.instances_of(supernode), 0.0)
        edits |= {one: float(donor.run.activations[one]) for one in donor.instances_of(other)}
        found = network.probabilities(network.run(self.words, edits))
        best = max(found, key=found.__getitem__)
        return best if found[best] >= SWAP_HOLDS else None

    @cached_property
    def donors(self) -> tuple[PlantedPrompt, ...]:
        """Prompts that differ in one slot, equally long."""
        found = []
        for slot, values in self.program.domains.items():
            for value in values:
                slots = {**self.slots, slot: value}
                if value != self.slots[slot] and self.program.valid(slots):
                    donor = PlantedPrompt(self.program, slots)
                    if len(donor.words) == len(self.words):
                        found.append(donor)
        return tuple(found)
