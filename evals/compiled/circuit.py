"""The gold circuit of one prompt of a compiled model: what is planted, with what was then measured on the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracescribe.evals.compiled.measuring import BIASES, TARGET, Measured
from tracescribe.evals.compiled.planted import LOGIT, End, PlantedPrompt, PlantedSupernode, token_end
from tracescribe.evals.compiled.running import CompiledModel, Row
from tracescribe.evals.compiled.weights import Compiled
from tracescribe.evals.gold import (
    GoldCircuit,
    GoldEdge,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    KnownEffects,
    KnownSwap,
    ModelStamp,
)
from tracescribe.evals.oracle.direct_effects import Effects, decide_edges, measure_effects
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.graph import FeatureNode

MIN_PROBABILITY = 0.9
"""Every prompt's answer has at least this probability: less would be a fault of the weights."""
_REST_DONORS = 8
"""Donors with which the features outside the circuit are tried."""
_FLOOR, _DIGITS = 1e-12, 4
_REST = "rest"


@dataclass(frozen=True, eq=False)
class CircuitBuilder:
    """Builds gold circuits of one compiled program.

    Attributes:
        compiled: tells which features are parts of which unit.
        model: read back from the files.
    """

    compiled: Compiled
    model: CompiledModel
    stamp: ModelStamp
    origin: str

    def build(self, gold_id: str, prompt: PlantedPrompt) -> GoldCircuit:
        """The gold circuit of a prompt.

        Raises:
            WorkError: the model does not do what was planted in it.
        """
        clean = self.model.run(prompt.words)
        names = {f"g{n}": planted for n, planted in enumerate(prompt.supernodes, start=1)}
        members = {name: self.members(planted) for name, planted in names.items()}
        answer = self.model.words.index(prompt.answer)
        probability = float(clean.probabilities[answer])
        silent = [
            n for nodes in members.values() for n in nodes if clean.activations[n.layer][n.position, n.feature] <= 0
        ]
        if probability < MIN_PROBABILITY or silent:
            raise WorkError(
                f"{gold_id}: the answer has probability {probability:.3f}, expected {MIN_PROBABILITY} or more, and "
                f"{len(silent)} planted features are silent; this is a fault of the program {prompt.program.name}"
            )
        selected = [node for nodes in members.values() for node in nodes]
        concepts = prompt.program.network.concepts
        return GoldCircuit(
            gold_id=gold_id,
            family=prompt.program.name,
            tags=("cross_layer",) if prompt.program.cross_layer else ("per_layer",),
            source=GoldSource(kind="compiled", origin=self.origin, licence="Apache-2.0"),
            stamp=self.stamp,
            prompt=" ".join(prompt.words[1:]),
            tokens=prompt.words,
            targets=(GoldTarget(node_id=self._logit(prompt), token=prompt.answer, probability=round(probability, 6)),),
            supernodes=tuple(
                GoldSupernode(
                    supernode_id=name,
                    label=concepts[planted.concept].labels[0],
                    accepted_labels=concepts[planted.concept].labels,
                    role=planted.role,
                    members=tuple(map(node_id, members[name])),
                    concept=f"{concepts[planted.concept].variable}={concepts[planted.concept].value}",
                )
                for name, planted in names.items()
            ),
            selected=tuple(map(node_id, selected)),
            edges=self._edges(prompt, clean),
            effects=tuple(self._effects(name, planted, prompt, clean) for name, planted in names.items()),
            rest_drop=self._rest_drop(prompt, clean, selected),
            rest_swap_gain=self._rest_swap_gain(prompt, clean, selected),
            can_score=("selection", "grouping", "labels", "edges", "causal"),
        )

    def members(self, planted: PlantedSupernode) -> tuple[FeatureNode, ...]:
        """Features that a unit at work was split into, at its positions."""
        return tuple(
            FeatureNode(layer, position, number)
            for layer, features in enumerate(self.compiled.features)
            for position in planted.positions
            for number, feature in enumerate(features)
            if feature.concept == planted.concept
        )

    # -- edges --------------------------------------------------------------------------------------------------------

    def measured(self, prompt: PlantedPrompt, clean: Row) -> tuple[Effects, Measured]:
        """Direct and total effects between the words, the planted supernodes, everything else, and the answer."""
        groups = {f"g{n}": self.members(planted) for n, planted in enumerate(prompt.supernodes, start=1)}
        tokens = {self._word(prompt, position): position for position in range(1, len(prompt.words))}
        inside = {node for nodes in groups.values() for node in nodes}
        rest = tuple(node for node in active_nodes(clean) if node not in inside)
        norms = {
            node: float(np.linalg.norm(self.model.layers[node.layer].decoder[node.feature].sum(0))) for node in inside
        }
        measured = Measured(
            model=self.model,
            words=prompt.words,
            clean=clean,
            groups=groups | {_REST: rest},
            tokens=tokens,
            weights=norms,
            destinations=(*groups, TARGET),
            target=self.model.words.index(prompt.answer),
        )
        ends = (*tokens, *groups)
        effects = measure_effects(ends, (_REST, BIASES), measured.destinations, measured.clean_values, measured)
        return effects, measured

    def planted_edges(self, prompt: PlantedPrompt) -> tuple[dict[tuple[str, str], float], set[tuple[str, str]]]:
        """Edges as they were planted: (source, destination) -> what the source adds; and those through patterns."""
        of = {one: f"g{n}" for n, s in enumerate(prompt.supernodes, start=1) for one in prompt.instances_of(s)}
        ends: dict[End, str] = {LOGIT: TARGET}
        ends.update({instance: name for instance, name in of.items()})
        ends |= {token_end(position): self._word(prompt, position) for position in range(1, len(prompt.words))}
        sums: dict[tuple[str, str], float] = {}
        for (source, target), value in prompt.links.items():
            if source in ends and target in ends:
                pair = (ends[source], ends[target])
                sums[pair] = sums.get(pair, 0.0) + value
        patterns = {(of[a], of[b]) for a, b in prompt.pattern_links if a in of and b in of and of[a] != of[b]}
        return {pair: value for pair, value in sums.items() if abs(value) > 1e-6}, patterns

    def _edges(self, prompt: PlantedPrompt, clean: Row) -> tuple[GoldEdge, ...]:
        effects, _ = self.measured(prompt, clean)
        planted, patterns = self.planted_edges(prompt)
        found = decide_edges(effects, story=planted.keys() | patterns, by_pattern=patterns - planted.keys())
        logit = self._logit(prompt)
        return tuple(
            edge.model_copy(update={"destination": logit}) if edge.destination == TARGET else edge for edge in found
        )

    # -- effects ------------------------------------------------------------------------------------------------------

    def drop(self, prompt: PlantedPrompt, clean: Row, nodes: Sequence[FeatureNode]) -> float:
        """Nats that the answer loses when features are silent, everything live."""
        answer = self.model.words.index(prompt.answer)
        after = self.model.run(prompt.words, dict.fromkeys(nodes, 0.0)).probabilities[answer]
        return _nats(float(clean.probabilities[answer]), float(after))

    def _effects(self, name: str, planted: PlantedSupernode, prompt: PlantedPrompt, clean: Row) -> KnownEffects:
        members = self.members(planted)
        swaps: dict[str, KnownSwap] = {}
        concepts = prompt.program.network.concepts
        variable, value = concepts[planted.concept].variable, concepts[planted.concept].value
        others, tried = {c.value for c in concepts if c.variable == variable} - {value}, set[str]()
        for donor in prompt.donors:
            for other in donor.supernodes:
                concept = concepts[other.concept]
                if (concept.variable, other.positions) != (variable, planted.positions):
                    continue
                if other.concept == planted.concept or concept.value in tried:
                    continue
                tried.add(concept.value)
                expected = prompt.swapped(planted, donor, other)
                if expected is not None and expected != prompt.answer:
                    gain = self._gain(prompt, clean, members, donor, self.members(other), expected)
                    swaps[concept.value] = KnownSwap(value=concept.value, expected_token=expected, features_gain=gain)
        return KnownEffects(
            supernode=name,
            target_token=prompt.answer,
            features_drop=self.drop(prompt, clean, members),
            swaps=tuple(swaps.values()),
            exhaustive=bool(tried) and others <= tried,
        )

    def _gain(
        self,
        prompt: PlantedPrompt,
        clean: Row,
        own: Sequence[FeatureNode],
        donor: PlantedPrompt,
        brought: Sequence[FeatureNode],
        expected: str,
    ) -> float:
        source = self.model.run(donor.words)
        edits = dict.fromkeys(own, 0.0)
        edits |= {node: float(source.activations[node.layer][node.position, node.feature]) for node in brought}
        token = self.model.words.index(expected)
        after = self.model.run(prompt.words, edits).probabilities[token]
        return round(float(after - clean.probabilities[token]), _DIGITS)

    # -- what gold leaves out -----------------------------------------------------------------------------------------

    def _rest_drop(self, prompt: PlantedPrompt, clean: Row, selected: Sequence[FeatureNode]) -> float:
        inside = set(selected)
        return self.drop(prompt, clean, [node for node in active_nodes(clean) if node not in inside])

    def _rest_swap_gain(self, prompt: PlantedPrompt, clean: Row, selected: Sequence[FeatureNode]) -> float:
        """Largest gain of a donor's answer when all features outside both circuits are the donor's."""
        inside, gains = set(selected), [0.0]
        donors = [donor for donor in prompt.donors if donor.answer != prompt.answer]
        step = max(1, len(donors) // _REST_DONORS)
        for donor in donors[::step][:_REST_DONORS]:
            theirs = {node for planted in donor.supernodes for node in self.members(planted)}
            source = self.model.run(donor.words)
            brought = [node for node in active_nodes(source) if node not in theirs | inside]
            own = [node for node in active_nodes(clean) if node not in inside]
            gains.append(self._gain(prompt, clean, own, donor, brought, donor.answer))
        return max(gains)

    def _logit(self, prompt: PlantedPrompt) -> str:
        token, last = self.model.words.index(prompt.answer), len(prompt.words) - 1
        return f"{len(self.model.layers) + 1}_{token}_{last}"

    def _word(self, prompt: PlantedPrompt, position: int) -> str:
        return f"E_{self.model.words.index(prompt.words[position])}_{position}"


def active_nodes(row: Row) -> tuple[FeatureNode, ...]:
    """Every active feature of a run, by layer, position and index."""
    return tuple(
        FeatureNode(layer, int(position), int(feature))
        for layer, active in enumerate(row.activations)
        for position, feature in np.argwhere(active > 0)
    )


def node_id(node: FeatureNode) -> str:
    """A feature node's id in graphs."""
    return f"{node.layer}_{node.feature}_{node.position}"


def _nats(before: float, after: float) -> float:
    return round(math.log(max(before, _FLOOR)) - math.log(max(after, _FLOOR)), _DIGITS)
