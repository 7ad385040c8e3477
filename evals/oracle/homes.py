"""Where a concept lives in the embedded model, and which features carry it there: membership of the oracle gold.

Each variable of the causal model has a home: the output of one MLP at one word. What stands there in a prompt, less its
mean over prompts with every other value, is the code of the value. A feature carries the value in a prompt if what it
writes into the home makes up a share of that code. That is a property of weights and activations: no label, context or
attribution score enters.

All runs here use the embedded model's own forward pass (`training.tiny_llama`), not the tracer that agents use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training.causal_model import Site
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
from tracescribe.tracer.embedded.training.tiny_llama import Run, TinyLlama
from tracescribe.tracer.embedded.training.tokens import encode, word_ids
from tracescribe.tracer.graph import FeatureNode

MEMBER_SHARE = 0.1
"""A feature that writes this share of a code carries the value: of ten features that share the work evenly, each."""
UNDECIDED_SHARE = 0.03
"""Below this a feature's part in a code is no more than the chance overlap of two directions in 128 dimensions, for a
feature that writes a third as much as the code; between the two bounds the gold does not decide."""
THRESHOLD_MARGIN = 1e-3
"""A feature whose pre-activation exceeds its threshold by less than this share may be off on another machine."""


@dataclass(frozen=True, eq=False)
class World:
    """The embedded model and its transcoder, as the oracle runs them."""

    model: TinyLlama
    transcoder: CrossLayerTranscoder
    ids_of: Mapping[str, int]

    @classmethod
    def of(cls, model: TinyLlama, transcoder: CrossLayerTranscoder) -> World:
        """With the corpus' vocabulary."""
        return cls(model, transcoder, word_ids())


@dataclass(frozen=True, eq=False)
class PromptRuns:
    """Some prompts, run together.

    Attributes:
        samples: the prompts, the answer included; what stands after it never reaches what is read here.
        run: one batch, padded on the right.
        ids: token ids `[n, width]`.
    """

    samples: tuple[Sample, ...]
    run: Run
    ids: Tensor

    def home(self, row: int, layer: int, role: str) -> Tensor:
        """MLP output at the word of a role, `[d_model]`."""
        return self.run.mlp_outputs[layer][row, self.samples[row].roles[role]]

    def answer_probabilities(self, row: int) -> Tensor:
        """Of every next token after the prompt, `[vocabulary]`."""
        return self.run.logits[row, self.samples[row].answer - 1].double().softmax(-1)


@torch.no_grad()
def run_prompts(world: World, samples: Sequence[Sample]) -> PromptRuns:
    """Run prompts in one batch."""
    ids, _ = encode(samples, world.ids_of)
    return PromptRuns(tuple(samples), world.model.run(ids), ids)


@dataclass(frozen=True, eq=False)
class Home:
    """The home of one variable, seen over all its values.

    Attributes:
        layer: MLP that writes it.
        role: role of the word at which it is written.
        variable: its name in the causal model.
        mean: MLP output at the home, averaged over values, `[d_model]`.
    """

    layer: int
    role: str
    variable: str
    mean: Tensor


def home_of(site: Site, runs: PromptRuns) -> Home:
    """The home of a variable.

    Args:
        site: its home in the target prompt.
        runs: the target and prompts with every other value; all weigh the same.
    """
    outputs = [runs.home(row, site.layer, site.role) for row in range(len(runs.samples))]
    return Home(site.layer, site.role, site.variable, torch.stack(outputs).mean(0))


@dataclass(frozen=True)
class Carriers:
    """Features and a concept in one prompt.

    Attributes:
        members: feature nodes that carry the concept, with the share of its code that each writes, largest first.
        undecided: feature nodes that write a little of it, or against it, or that hardly fire.
    """

    members: Mapping[FeatureNode, float]
    undecided: frozenset[FeatureNode]


NO_CARRIERS = Carriers({}, frozenset())
"""Of a concept that a prompt does not have."""


@torch.no_grad()
def carriers(world: World, runs: PromptRuns, row: int, home: Home) -> Carriers:
    """Which features carry the value of a variable in one prompt.

    A feature can only write into the home from the same word, and from the home's layer or below.
    """
    code = runs.home(row, home.layer, home.role) - home.mean
    energy = float(code @ code)
    position = runs.samples[row].roles[home.role]
    members: dict[FeatureNode, float] = {}
    undecided: set[FeatureNode] = set()
    for layer in range(home.layer + 1):
        x = runs.run.mlp_inputs[layer][row, position]
        active = world.transcoder.activations(layer, x)
        for feature in active.nonzero().flatten().tolist():
            node = FeatureNode(layer, position, feature)
            written = active[feature] * world.transcoder.decoders[layer][feature, home.layer - layer]
            share = float(written @ code) / energy if energy else 0.0
            if _is_marginal(world.transcoder, layer, feature, float(active[feature])):
                undecided.add(node)
            elif share >= MEMBER_SHARE:
                members[node] = share
            elif abs(share) >= UNDECIDED_SHARE:
                undecided.add(node)
    ranked = dict(sorted(members.items(), key=lambda item: (-item[1], item[0])))
    return Carriers(ranked, frozenset(undecided))


def _is_marginal(transcoder: CrossLayerTranscoder, layer: int, feature: int, active: float) -> bool:
    threshold = float(transcoder.thresholds[layer][feature])
    return active - threshold <= THRESHOLD_MARGIN * max(abs(threshold), abs(active))


@torch.no_grad()
def active_features(world: World, runs: PromptRuns, row: int) -> tuple[FeatureNode, ...]:
    """Every feature node of a prompt, as a full trace of it has them: all but those at `<bos>`."""
    found: list[FeatureNode] = []
    for layer in range(world.model.n_layers):
        inputs = runs.run.mlp_inputs[layer][row, 1 : runs.samples[row].answer]
        for position, feature in world.transcoder.activations(layer, inputs).nonzero().tolist():
            found.append(FeatureNode(layer, position + 1, feature))
    return tuple(found)


def activation(world: World, runs: PromptRuns, row: int, node: FeatureNode) -> float:
    """Activation of one feature node in one prompt."""
    x = runs.run.mlp_inputs[node.layer][row, node.position]
    return float(world.transcoder.activations(node.layer, x)[node.feature])
