"""The oracle path: members, edges and necessities found on the weights alone, and compared with what was planted.

Every feature that fires is silenced by itself with all else held, and everything that it could drive is read: all other
features, the scores by which heads choose where to look, and the answer's logit against those of the other answers. A
feature is a member if from it a path leads to the answer. Edges are decided by measurement alone, without the story.

Source: Conmy et al. 2023, "Towards automated circuit discovery"; Goldowsky-Dill et al. 2023, "Localizing model
behavior with path patching".
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.compiled.building import read_compiled
from tracescribe.evals.compiled.circuit import CircuitBuilder, active_nodes, node_id
from tracescribe.evals.compiled.compiling import compile_program, draw_prompts
from tracescribe.evals.compiled.planted import PlantedPrompt
from tracescribe.evals.compiled.running import CompiledModel, Floats, Row
from tracescribe.evals.gold import NECESSITY_HOLDS
from tracescribe.evals.oracle.direct_effects import decide_edges
from tracescribe.tracer.graph import FeatureNode

LINK_SHARE = 0.004
"""A link between single features carries at least this share of what drives its end. The weakest part of a unit has a
thirteenth of its work, and the unit a tenth or more of a drive; rounding and junk stay below a thousandth."""
LOGIT_SHARE = 0.02
"""The same for the answer's logit, to which every distractor leaks a little."""
_LOOKED_AT = 0.1
"""Attention below it is taken for none: what a head rests with, or an average over more words than prompts have."""


@dataclass(frozen=True)
class Agreement:
    """What was found against what was planted, in one prompt.

    Attributes:
        members, edges, necessities: (found and planted, found, planted). Necessities are counted over supernodes.
    """

    members: tuple[int, int, int]
    edges: tuple[int, int, int]
    necessities: tuple[int, int, int]

    def __add__(self, other: Agreement) -> Agreement:
        """Counts of both."""

        def both(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
            return a[0] + b[0], a[1] + b[1], a[2] + b[2]

        return Agreement(
            both(self.members, other.members),
            both(self.edges, other.edges),
            both(self.necessities, other.necessities),
        )


def f1(counts: tuple[int, int, int]) -> float:
    """F1 of (both, found, planted); 1 where there was nothing and nothing was found."""
    both, found, planted = counts
    return 2 * both / (found + planted) if found + planted else 1.0


def recover(builder: CircuitBuilder, prompt: PlantedPrompt) -> Agreement:
    """Find one prompt's circuit on the weights, and compare."""
    clean = builder.model.run(prompt.words)
    planted = {node_id(node) for one in prompt.supernodes for node in builder.members(one)}
    found = {node_id(node) for node in find_members(builder, prompt, clean)}
    planted_edges, _ = builder.planted_edges(prompt)
    effects, _ = builder.measured(prompt, clean)
    visible = {(e.source, e.destination, e.sign) for e in decide_edges(effects) if e.status == "asked" and e.visible}
    story = {(source, target, 1 if value > 0 else -1) for (source, target), value in planted_edges.items()}
    needed, seen = set(), set()
    for number, one in enumerate(prompt.supernodes):
        before = prompt.program.network.probabilities(prompt.run)[prompt.answer]
        if np.log(before) - np.log(max(prompt.without(one), 1e-12)) >= NECESSITY_HOLDS:
            needed.add(number)
        if builder.drop(prompt, clean, builder.members(one)) >= NECESSITY_HOLDS:
            seen.add(number)
    return Agreement(_counts(found, planted), _counts(visible, story), _counts(seen, needed))


def _counts(found: Iterable[object], planted: Iterable[object]) -> tuple[int, int, int]:
    one, other = set(found), set(planted)
    return len(one & other), len(one), len(other)


def find_members(builder: CircuitBuilder, prompt: PlantedPrompt, clean: Row) -> tuple[FeatureNode, ...]:
    """Features from which a path of direct effects leads to the answer, through heads' choices too."""
    search = _Search(builder, prompt, clean)
    nodes, looks = search.nodes, search.looks
    into = search.links()
    reached: set[int] = set()
    waiting = list(np.flatnonzero(into[:, -1]))
    while waiting:
        index = int(waiting.pop())
        if index not in reached:
            reached.add(index)
            waiting += list(np.flatnonzero(into[:, index]))
    assert into.shape == (len(nodes) + len(looks), len(nodes) + len(looks) + 1)
    return tuple(nodes[index] for index in sorted(reached) if index < len(nodes))


class _Search:
    """Direct effects between single features, heads' looks, and the answer, in one prompt.

    A *look* is one head at one word that looks somewhere else than at the first token.
    """

    def __init__(self, builder: CircuitBuilder, prompt: PlantedPrompt, clean: Row) -> None:
        self.model, self.words, self.clean = builder.model, prompt.words, clean
        self.nodes = active_nodes(clean)
        self.looks = [
            (layer, head, query, int(key))
            for layer, pattern in enumerate(clean.patterns)
            for head, query, key in np.argwhere(pattern > _LOOKED_AT)
            if key
        ]
        self.answer = self.model.words.index(prompt.answer)
        answers = [self.model.words.index(word) for word in prompt.program.network.answers]
        self.others = [token for token in answers if token != self.answer]

    def links(self) -> NDArray[np.bool_]:
        """Whether a row drives a column: rows are features and looks, columns those and the answer."""
        starts, written = self._changes()
        driven = np.zeros((len(starts), len(self.nodes) + len(self.looks) + 1))
        change = starts
        for layer in range(len(self.model.layers)):
            change = change + self.model.carried(self.clean, layer, change) + self._handed_over(layer)
            self._read_features(driven, layer, self.model.read_change(self.clean, layer, change))
            change = change + written[layer]
            if layer + 1 < len(self.model.layers):
                self._read_looks(driven, layer + 1, change)
        logits = self.model.logit_change(self.clean, change)[:, -1]
        driven[:, -1] = logits[:, self.answer] - logits[:, self.others].mean(-1)
        lost = -driven
        # what looks hand over is what features wrote, so that they are not counted into a drive
        drives = np.maximum(lost[: len(self.nodes)], 0.0).sum(0) + self._drive_of_words()
        share = np.divide(np.abs(lost), drives, out=np.zeros_like(lost), where=drives > 0)
        bounds = np.full(lost.shape[1], LINK_SHARE)
        bounds[-1] = LOGIT_SHARE
        return np.asarray(share >= bounds)

    def _changes(self) -> tuple[Floats, Floats]:
        """Changes of the first stream and of every MLP's output when one row's source is silent."""
        n_rows, shape = len(self.nodes) + len(self.looks), (len(self.words), self.model.embedding.shape[1])
        written = np.zeros((len(self.model.layers), n_rows, *shape))
        for row, node in enumerate(self.nodes):
            value = self.clean.activations[node.layer][node.position, node.feature]
            for offset, vector in enumerate(self.model.layers[node.layer].decoder[node.feature]):
                written[node.layer + offset, row, node.position] -= value * vector
        return np.zeros((n_rows, *shape)), written

    def _handed_over(self, layer: int) -> Floats:
        """What is missing after a layer's heads when one look is turned to the first token, per row."""
        n_rows, n_pos = len(self.nodes) + len(self.looks), len(self.words)
        missing = np.zeros((n_rows, n_pos, self.model.embedding.shape[1]))
        values, width = self.clean.heads[layer][2], self.clean.heads[layer].shape[-1]
        for row, (at, head, query, key) in enumerate(self.looks, start=len(self.nodes)):
            if at == layer:
                weight = self.clean.patterns[layer][head, query, key]
                rows = self.model.layers[layer].attention_out[head * width : (head + 1) * width]
                missing[row, query] = -weight * (values[head, key] - values[head, 0]) @ rows
        return missing

    def _read_features(self, driven: Floats, layer: int, changes: Floats) -> None:
        for column, node in enumerate(self.nodes):
            if node.layer == layer:
                driven[:, column] = changes[:, node.position, node.feature]

    def _read_looks(self, driven: Floats, layer: int, change: Floats) -> None:
        """Change of the score that a look has over the first token's."""
        queries, keys, _ = self.model.heads_change(self.clean, layer, change)
        own_queries, own_keys, _ = self.clean.heads[layer]
        root = np.sqrt(queries.shape[-1])
        for column, (at, head, query, key) in enumerate(self.looks, start=len(self.nodes)):
            if at == layer:
                own = own_keys[head, key] - own_keys[head, 0]
                other = keys[:, head, key] - keys[:, head, 0]
                asked = queries[:, head, query]
                driven[:, column] = (asked @ own + other @ own_queries[head, query] + (asked * other).sum(-1)) / root

    def _drive_of_words(self) -> Floats:
        """What the words themselves add to every column; to a look, the score that it has."""
        start = np.zeros((len(self.words), *self.clean_shape))
        for position, token in enumerate(self.model.encode(self.words)):
            start[position, position] = self.model.embedding[token]
        drives = np.zeros(len(self.nodes) + len(self.looks) + 1)
        change = start
        for layer in range(len(self.model.layers)):
            change = change + self.model.carried(self.clean, layer, change)
            read = self.model.read_change(self.clean, layer, change)
            for column, node in enumerate(self.nodes):
                if node.layer == layer:
                    drives[column] = np.maximum(read[:, node.position, node.feature], 0.0).sum()
        for column, (layer, head, query, key) in enumerate(self.looks, start=len(self.nodes)):
            asked, keys, _ = self.clean.heads[layer]
            drives[column] = asked[head, query] @ (keys[head, key] - keys[head, 0]) / np.sqrt(asked.shape[-1])
        return drives

    @property
    def clean_shape(self) -> tuple[int, int]:
        """Of one prompt's stream."""
        return len(self.words), self.model.embedding.shape[1]


def recover_suite(folder: Path) -> dict[str, Agreement]:
    """The oracle path on every circuit of a suite, by program.

    Args:
        folder: what `build_compiled` wrote; the truth is planted again from its seed.

    Raises:
        GoldFormatError: no suite there.
    """
    found: dict[str, Agreement] = {}
    for stored in read_compiled(folder):
        seed, count = int(stored.gold.built_with["seed"]), len(stored.gold.circuits)
        program, compiled = compile_program(stored.name, seed)
        model = CompiledModel.load(stored.model, stored.transcoders)
        builder = CircuitBuilder(compiled, model, stored.gold.circuits[0].stamp, "recovered")
        agreements = [recover(builder, prompt) for prompt in draw_prompts(program, seed, count)]
        found[stored.name] = sum(agreements[1:], agreements[0])
    return found


def main() -> None:
    """Print, for each program of a suite, F1 of members, edges and necessities: found against planted."""
    for name, one in recover_suite(Path(sys.argv[1])).items():
        scores = ", ".join(
            f"{what} {f1(counts):.3f} of {counts[2]}"
            for what, counts in (("members", one.members), ("edges", one.edges), ("necessities", one.necessities))
        )
        print(f"{name}: {scores}")


if __name__ == "__main__":
    main()
