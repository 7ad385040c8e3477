"""What the embedded model does when a concept is swapped or taken away: the known effects of the oracle gold.

Each effect that the causal model predicts is tried on the model in two ways. At the *site*: the whole output at the
concept's home is replaced, by that of a prompt with the other value, or by its mean over all values. By *features*: the
gold members are cleared and the donor's gold members set, everything else live. Both are recorded, also where the model
falls short of the causal model it was trained to implement.

Source: Geiger et al. 2021, "Causal abstractions of neural networks" (interchange interventions).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.evals.gold import KnownSwap
from tracescribe.evals.oracle.homes import Carriers, Home, PromptRuns, World, activation
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.embedded.training.tokens import encode
from tracescribe.tracer.graph import FeatureNode

_FLOOR = 1e-12
"""Probabilities below it are taken as it, so that a log-probability stays finite."""
_DIGITS = 4
"""Decimals that a gold file keeps of what was observed."""


@dataclass(frozen=True, eq=False)
class Edited:
    """Rows of edited runs of one prompt.

    Attributes:
        probabilities: of every next token, `[n_rows, vocabulary]`.
        activations: of each layer's features, `[n_rows, position, features]`, as the edited streams give them.
    """

    probabilities: Tensor
    activations: tuple[Tensor, ...]


@torch.no_grad()
def replace_home(world: World, target: Sample, home: Home, outputs: Tensor) -> Tensor:
    """Answer probabilities after the output at a home is replaced.

    Args:
        outputs: one MLP output per row, `[n_rows, d_model]`.

    Returns:
        `[n_rows, vocabulary]`.
    """
    ids, _ = encode([target], world.ids_of)
    position = target.roles[home.role]

    def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
        if layer != home.layer:
            return own
        changed = own.clone()
        changed[:, position] = outputs
        return changed

    run = world.model.run(ids.expand(len(outputs), -1), replace)
    return run.logits[:, target.answer - 1].double().softmax(-1)


@torch.no_grad()
def set_features(world: World, target: Sample, rows: Sequence[Mapping[FeatureNode, float]]) -> Edited:
    """Run one prompt once per row, each row setting some features' activations, everything live."""
    ids, _ = encode([target], world.ids_of)
    wanted = [torch.full((len(rows), ids.shape[1], size), math.nan) for size in world.transcoder.sizes]
    for number, row in enumerate(rows):
        for node, value in row.items():
            wanted[node.layer][number, node.position, node.feature] = value
    changes: dict[int, Tensor] = {}
    seen: list[Tensor] = []

    def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
        seen.append(world.transcoder.activations(layer, x))
        changes[layer] = torch.nan_to_num(wanted[layer] - seen[layer])
        return own + world.transcoder.written(changes, layer)

    run = world.model.run(ids.expand(len(rows), -1), replace)
    return Edited(run.logits[:, target.answer - 1].double().softmax(-1), tuple(seen))


def cleared(nodes: Iterable[FeatureNode]) -> dict[FeatureNode, float]:
    """Edits that set features to zero."""
    return dict.fromkeys(nodes, 0.0)


def nats_lost(before: float, after: float) -> float:
    """Fall of a log-probability, rounded as gold files keep it."""
    return round(math.log(max(before, _FLOOR)) - math.log(max(after, _FLOOR)), _DIGITS)


@dataclass(frozen=True, eq=False)
class SwapTrial:
    """One swap to try: the donor's row among the runs, the value it brings, and the answer that must follow."""

    row: int
    value: str
    expected: str


def _brought(world: World, runs: PromptRuns, donor: Carriers, row: int, home: Home) -> dict[FeatureNode, float]:
    """The donor's members with their activations, moved to the target's word of the same role (row 0)."""
    position = runs.samples[0].roles[home.role]
    brought: dict[FeatureNode, float] = {}
    for node in donor.members:
        brought[FeatureNode(node.layer, position, node.feature)] = activation(world, runs, row, node)
    return brought


def try_swaps(
    world: World, runs: PromptRuns, home: Home, carried: Mapping[int, Carriers], trials: Sequence[SwapTrial]
) -> tuple[KnownSwap, ...]:
    """Carry out swaps at the site and by features.

    Args:
        runs: the target in row 0, and its donors.
        carried: carriers of the home's concept by row of `runs`.
        trials: donors to swap in.
    """
    if not trials:
        return ()
    target, clean = runs.samples[0], runs.answer_probabilities(0)
    site = replace_home(
        world, target, home, torch.stack([runs.home(trial.row, home.layer, home.role) for trial in trials])
    )
    members = carried[0].members
    rows = [cleared(members) | _brought(world, runs, carried[trial.row], trial.row, home) for trial in trials]
    features = set_features(world, target, rows).probabilities
    swaps = []
    for number, trial in enumerate(trials):
        token = world.ids_of[trial.expected]
        testable = bool(members) and bool(carried[trial.row].members)
        swaps.append(
            KnownSwap(
                value=trial.value,
                expected_token=trial.expected,
                site_gain=round(float(site[number, token] - clean[token]), _DIGITS),
                features_gain=round(float(features[number, token] - clean[token]), _DIGITS) if testable else None,
            )
        )
    return tuple(swaps)
