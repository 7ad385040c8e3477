"""Prototypes: the distinct directions in which an MLP writes, and encoders that tell when it does.

A transcoder that starts from random weights tends to merge several rare outputs in one feature and never to part them
again. Here every distinct output gets a feature of its own from the start: farthest-point seeds on the MLP outputs,
a few rounds of spherical k-means, then encoders fitted one-sidedly (the coefficient where the prototype is written,
anything below a ceiling elsewhere, because a JumpReLU does not care how far below its threshold it is).
Only MLP inputs and outputs are seen; no latent variable takes part.

Source: Gonzalez 1985 (farthest-point clustering); Dhillon and Modha 2001 (spherical k-means).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# torch's quantile refuses longer inputs; the rows come in random order.
_QUANTILE_ROWS = 1_000_000


@dataclass(frozen=True)
class PrototypeSettings:
    """How prototypes are found and their encoders fitted.

    Attributes:
        loud: share of the layer's loud output length (95th percentile) below which an output counts as silence.
        novelty: same unit; seeding ends when no output lies farther than this from all seeds.
        purity: share of an output's length that its prototype must explain.
        rounds: rounds of k-means.
        steps, batch, learning_rate: of the encoder fit.
        ceiling: pre-activation, in units of the prototype's usual coefficient, below which rows of other prototypes
            are left alone; half-way to the threshold, so that conjunctions of two inputs stay linear.
        threshold: same unit; the JumpReLU's.
        positive_weight: weight of a row of the prototype; it has far fewer rows than there are others.
        smallest: prototypes with fewer rows are noise and are dropped.
        noise: standard deviation of what is added to inputs (of unit mean square) during the fit. Where the transcoder
            replaces earlier MLPs, inputs are a little off; a feature must tell its rows with that much to spare.
        quiet_floor: outputs shorter than this share of what is loud in the model as a whole get no prototype.
    """

    loud: float = 0.3
    novelty: float = 0.45
    purity: float = 0.7
    rounds: int = 3
    steps: int = 1000
    batch: int = 1024
    learning_rate: float = 5e-3
    ceiling: float = 0.25
    threshold: float = 0.5
    positive_weight: float = 3.0
    smallest: int = 3
    quiet_floor: float = 0.2
    noise: float = 0.07


@dataclass(frozen=True)
class Clusters:
    """Prototypes of one layer.

    Attributes:
        directions: unit vectors [prototypes, width].
        owner: prototype of each row, -1 for silence or a mixture [rows].
        coefficients: length along the owner's direction [rows].
        lengths: mean coefficient of each prototype [prototypes].
    """

    directions: Tensor
    owner: Tensor
    coefficients: Tensor
    lengths: Tensor

    def kept(self, keep: Tensor) -> Clusters:
        """The clusters without those that `keep` [prototypes] leaves out; their rows become nobody's."""
        renumbered = torch.where(keep, torch.cumsum(keep, 0) - 1, -1)
        owner = torch.where(self.owner >= 0, renumbered[self.owner.clamp(min=0)], -1)
        return Clusters(self.directions[keep], owner, self.coefficients, self.lengths[keep])


def _seeds(outputs: Tensor, silence: float, novelty: float, most: int) -> Tensor:
    lengths = outputs.norm(dim=1)
    distance = torch.where(lengths > silence, lengths, 0.0)
    found: list[Tensor] = []
    while len(found) < most:
        farthest = int(distance.argmax())
        if float(distance[farthest]) < novelty:
            break
        found.append(outputs[farthest] / lengths[farthest])
        along = (outputs @ found[-1]).clamp(min=0)
        rest = (lengths.pow(2) - along.pow(2)).clamp(min=0).sqrt()  # |y - (y.d) d| for a unit d
        distance = torch.minimum(distance, rest)
    return torch.stack(found) if found else torch.empty(0, outputs.shape[1])


def _no_clusters(outputs: Tensor) -> Clusters:
    nobody = torch.full((len(outputs),), -1)
    return Clusters(outputs[:0], nobody, torch.zeros(len(outputs)), torch.zeros(0))


def find_clusters(outputs: Tensor, settings: PrototypeSettings, most: int, floor: float = 0.0) -> Clusters:
    """Cluster one layer's MLP outputs [rows, width] by direction.

    Args:
        most: most prototypes to find.
        floor: length that counts as loud in the model as a whole; seeds shorter than `quiet_floor` of it are noise.
    """
    lengths = outputs.norm(dim=1)
    loud = float(lengths[:_QUANTILE_ROWS].quantile(0.95))
    silence = max(settings.loud * loud, settings.quiet_floor * floor)
    directions = _seeds(outputs, silence, max(settings.novelty * loud, settings.quiet_floor * floor), most)
    if not len(directions):
        return _no_clusters(outputs)
    for _ in range(settings.rounds):
        owner, _, counts = _assign(outputs, lengths, directions, settings.purity, silence)
        kept = owner >= 0
        sums = torch.zeros_like(directions).index_add(0, owner[kept], outputs[kept])[counts >= settings.smallest]
        if not len(sums):
            return _no_clusters(outputs)
        directions = sums / sums.norm(dim=1, keepdim=True).clamp(min=1e-6)
    owner, coefficients, counts = _assign(outputs, lengths, directions, settings.purity, silence)
    kept = owner >= 0
    means = torch.zeros(len(directions)).index_add(0, owner[kept], coefficients[kept]) / counts.clamp(min=1)
    return Clusters(directions, owner, coefficients, means)


def _assign(
    outputs: Tensor, lengths: Tensor, directions: Tensor, purity: float, silence: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Owner (-1: none) and coefficient of each row, and the number of rows of each prototype."""
    coefficients, owner = (outputs @ directions.T).max(1)
    owner = torch.where((coefficients > purity * lengths) & (coefficients > silence), owner, -1)
    return owner, coefficients, torch.bincount(owner[owner >= 0], minlength=len(directions))


class RowDraw:
    """Draws rows: half of them evenly, half evenly over prototypes, so that rare ones are met often enough."""

    def __init__(self, owner: Tensor, generator: torch.Generator) -> None:
        """`owner`: prototype of each row, -1 for none [rows]."""
        self._generator = generator
        self._rows = len(owner)
        self._sorted = owner.argsort(stable=True)[int((owner < 0).sum()) :]
        self._counts = torch.bincount(owner[owner >= 0])
        self._starts = torch.cumsum(self._counts, 0) - self._counts
        self._filled = self._counts.nonzero().flatten()

    def __call__(self, count: int) -> Tensor:
        """Indices of rows [count]."""
        even = torch.randint(self._rows, (count,), generator=self._generator)
        if not len(self._filled):
            return even
        half = count // 2
        chosen = self._filled[torch.randint(len(self._filled), (half,), generator=self._generator)]
        within = (torch.rand(half, generator=self._generator) * self._counts[chosen]).long()
        even[:half] = self._sorted[self._starts[chosen] + within]
        return even


def fit_encoders(
    inputs: Tensor,
    clusters: Clusters,
    settings: PrototypeSettings,
    generator: torch.Generator,
    tick: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    """Fit encoders to the clusters of one layer.

    Args:
        inputs: MLP inputs [rows, width], of unit mean square.
        tick: called with the number of steps done, now and then.

    Returns:
        Encoders [prototypes, width] and biases [prototypes], whose pre-activation is the coefficient divided by the
        prototype's mean coefficient.
    """
    count = len(clusters.directions)
    if not count:
        return torch.zeros(0, inputs.shape[1]), torch.zeros(0)
    encoder = torch.zeros(count, inputs.shape[1], requires_grad=True)
    bias = torch.full((count,), -0.2, requires_grad=True)
    optimiser = torch.optim.Adam([encoder, bias], lr=settings.learning_rate)
    draw = RowDraw(clusters.owner, generator)
    for step in range(settings.steps):
        for group in optimiser.param_groups:  # constant, then down to nothing over the last 60 %
            group["lr"] = settings.learning_rate * min(1.0, (settings.steps - step) / (0.6 * settings.steps))
        picked = draw(settings.batch)
        shaken = inputs[picked]
        shaken = shaken + settings.noise * torch.randn(shaken.shape, generator=generator)
        loss = one_sided_loss(functional.linear(shaken, encoder, bias), clusters, picked, settings)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        if step % 100 == 99:
            tick(step + 1)
    return encoder.detach(), bias.detach()


def one_sided_loss(pre: Tensor, clusters: Clusters, picked: Tensor, settings: PrototypeSettings) -> Tensor:
    """Squared error on the prototype's own rows, squared excess over the ceiling on all others; mean over rows.

    Args:
        pre: pre-activations of the picked rows in units of the usual coefficient [picked, prototypes].
        picked: indices of rows [picked].
    """
    owner = clusters.owner[picked]
    rows = (owner >= 0).nonzero().flatten()
    own = pre[rows, owner[rows]]
    target = clusters.coefficients[picked][rows] / clusters.lengths[owner[rows]]
    excess = (pre - settings.ceiling).relu().pow(2)
    total = excess.sum() - excess[rows, owner[rows]].sum()
    return (total + settings.positive_weight * (own - target).pow(2).sum()) / len(pre)
