"""Direct and total effects between the ends of one prompt's circuit, on the embedded model's own forward pass.

An input word is changed to other words that could stand there, and the mean over them is taken; a supernode's features
are cleared. Destinations are read by what they compute: a supernode by its members' pre-activations, each weighted by
what it writes along the concept's code; the answer by its logit above the mean logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tracescribe.evals.oracle.direct_effects import Effects, Floats, measure_effects
from tracescribe.evals.oracle.homes import World
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.embedded.training.tiny_llama import Run
from tracescribe.tracer.embedded.training.tokens import encode
from tracescribe.tracer.graph import FeatureNode

LOGIT = "logit"
"""How the answer's logit is called among the destinations."""
_REST = "rest"


@dataclass(frozen=True, eq=False)
class Ends:
    """What can be connected in one prompt.

    Attributes:
        words: input words by name: position, and the words that they are changed to.
        members: features of each supernode by its name.
        weights: what one unit of a member's activation writes along the concept's code, by feature.
        readable: supernodes that are read as destinations.
    """

    words: Mapping[str, tuple[int, tuple[str, ...]]]
    members: Mapping[str, tuple[FeatureNode, ...]]
    weights: Mapping[FeatureNode, float]
    readable: tuple[str, ...]


def path_effects(world: World, target: Sample, ends: Ends) -> Effects:
    """Measure every pair of ends of one prompt."""
    return _Paths(world, target, ends).effects()


class _Paths:
    """One prompt, its clean run, and the runs with one source changed."""

    def __init__(self, world: World, target: Sample, ends: Ends) -> None:
        self._world, self._target, self._ends = world, target, ends
        self._ids, _ = encode([target], world.ids_of)
        self._ids = self._ids[:, : target.answer]
        self._clean = world.model.run(self._ids)
        self._rest = tuple(f"{_REST} {position}" for position in range(target.answer))
        self._gold = self._gold_outputs()

    @torch.no_grad()
    def effects(self) -> Effects:
        destinations = (*self._ends.readable, LOGIT)
        sources = (*self._ends.words, *self._ends.members)
        return measure_effects(sources, self._rest, destinations, self._read(self._clean)[0], self._responses)

    @torch.no_grad()
    def _responses(self, sources: Sequence[str], *, held: bool) -> Floats:
        """Read-outs with one source changed a row; a word's row is the mean over its other words."""
        rows: list[tuple[int, Tensor]] = []
        names: list[str] = []
        for number, source in enumerate(sources):
            for ids in self._texts(source):
                rows.append((number, ids))
                names.append(source)
        if not rows:
            return np.zeros((0, len(self._ends.readable) + 1))
        ids = torch.cat([text for _, text in rows])
        read = self._read(self._run_held(ids, names) if held else self._run_live(ids, names))
        owner = np.array([number for number, _ in rows])
        return np.stack([read[owner == number].mean(0) for number in range(len(sources))])

    def _texts(self, source: str) -> list[Tensor]:
        """Token ids of the texts that a source is tried with, each `[1, position]`."""
        if source not in self._ends.words:
            return [self._ids]
        position, others = self._ends.words[source]
        texts = []
        for word in others:
            changed = self._ids.clone()
            changed[0, position] = self._world.ids_of[word]
            texts.append(changed)
        return texts

    def _run_held(self, ids: Tensor, names: Sequence[str]) -> Run:
        """Every MLP output, attention pattern and norm scale is that of the clean run, but for what the source writes."""
        clean = self._clean

        def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
            outputs = clean.mlp_outputs[layer].expand(len(names), -1, -1).clone()
            for row, name in enumerate(names):
                if name.startswith(_REST):
                    position = int(name.split()[1])
                    outputs[row, position] = self._gold[layer][position]
                else:
                    for node in self._ends.members.get(name, ()):
                        if node.layer <= layer:
                            outputs[row, node.position] -= self._written(node, layer)
            return outputs

        frozen = Run(
            clean.logits,
            clean.mlp_inputs,
            clean.mlp_outputs,
            tuple(pattern.expand(len(names), -1, -1, -1) for pattern in clean.patterns),
            tuple(scale.expand(len(names), -1, -1) for scale in clean.norm_scales),
        )
        return self._world.model.run(ids, replace, frozen)

    def _run_live(self, ids: Tensor, names: Sequence[str]) -> Run:
        """Everything follows the source; a supernode's features are held at zero."""
        world, removed = self._world, dict[int, Tensor]()

        def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
            active = world.transcoder.activations(layer, x)
            removed[layer] = torch.zeros_like(active)
            for row, name in enumerate(names):
                for node in self._ends.members.get(name, ()):
                    if node.layer == layer:
                        removed[layer][row, node.position, node.feature] = -active[row, node.position, node.feature]
            return own + world.transcoder.written(removed, layer)

        return world.model.run(ids, replace)

    def _written(self, node: FeatureNode, layer: int) -> Tensor:
        x = self._clean.mlp_inputs[node.layer][0, node.position]
        active = self._world.transcoder.activations(node.layer, x)[node.feature]
        return active * self._world.transcoder.decoders[node.layer][node.feature, layer - node.layer]

    def _gold_outputs(self) -> list[Tensor]:
        """What the members of all supernodes write into each MLP output, `[position, d_model]` a layer."""
        model = self._world.model
        written = [torch.zeros_like(self._clean.mlp_outputs[layer][0]) for layer in range(model.n_layers)]
        for node in {node for members in self._ends.members.values() for node in members}:
            for layer in range(node.layer, model.n_layers):
                written[layer][node.position] += self._written(node, layer)
        return written

    def _read(self, run: Run) -> Floats:
        """Read-outs of every destination, `[n_rows, n_destinations]`."""
        columns = []
        for name in self._ends.readable:
            total = torch.zeros(len(run.logits), dtype=torch.float64)
            for node in self._ends.members[name]:
                encoder = self._world.transcoder.encoders[node.layer][node.feature].double()
                total += self._ends.weights[node] * (run.mlp_inputs[node.layer][:, node.position].double() @ encoder)
            columns.append(total)
        logits = run.logits[:, self._target.answer - 1].double()
        columns.append(logits[:, self._world.ids_of[self._target.answer_word]] - logits.mean(-1))
        return torch.stack(columns, -1).numpy()
