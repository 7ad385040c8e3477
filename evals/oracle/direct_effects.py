"""Which source drives which destination: edges decided by exhaustive intervention, on any model that can be run.

Every source (an input word, a gold supernode, whatever else is active) is taken to its baseline alone, and every
destination is read. Twice: with everything else held as in the clean run (attention patterns, norm scales, all other
features), which leaves the direct path alone, and with everything live, which gives the total effect. Nothing here
knows a model: it takes read-outs as arrays, so that the embedded and the compiled models are decided by one rule.

Source: Wang et al. 2022, "Interpretability in the wild" (path patching); Goldowsky-Dill et al. 2023, "Localizing model
behavior with path patching"; Conmy et al. 2023 (ACDC) for signed edges of a circuit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.gold import GoldEdge

Floats = NDArray[np.float64]

_DIGITS = 3
"""Decimals that a gold file keeps of a share."""


class Responses(Protocol):
    """Runs the model with sources changed one at a time."""

    def __call__(self, sources: Sequence[str], *, held: bool) -> Floats:
        """Read-outs of all destinations, `[n_sources, n_destinations]`; row i changes `sources[i]` and nothing else.

        Args:
            sources: sources to take to their baselines.
            held: True keeps everything between source and destination as in the clean run, attention patterns and norm
                scales included; False lets everything follow.
        """
        ...


@dataclass(frozen=True)
class EdgeBounds:
    """How much of a destination's drive an edge must carry.

    Attributes:
        asked: from this share on an edge that the story has is asked for: of ten sources that share the work evenly,
            each. The same bound decides which feature belongs to a supernode.
        undecided: below this share there is no edge. Between the bounds, and above the lower one for edges outside the
            story, gold does not decide.
    """

    asked: float = 0.1
    undecided: float = 0.03


@dataclass(frozen=True, eq=False)
class Effects:
    """What every source does to every destination.

    Attributes:
        sources: names; the ends of edges first, then the rest.
        n_ends: how many of them can be ends of edges.
        destinations: names.
        direct: fall of the destination's read-out when the source alone is changed and everything else is held,
            `[n_sources, n_destinations]`, in the destination's unit.
        total: the same with everything live, `[n_ends, n_destinations]`.
    """

    sources: tuple[str, ...]
    n_ends: int
    destinations: tuple[str, ...]
    direct: Floats
    total: Floats

    @property
    def drives(self) -> Floats:
        """What raises each destination in all, `[n_destinations]`: the sum of its positive direct effects."""
        raised: Floats = np.maximum(self.direct, 0.0).sum(0)
        return raised

    def shares(self) -> tuple[Floats, Floats]:
        """Direct and total effects as shares of the destinations' drives; 0 where nothing drives a destination."""
        drives = self.drives
        scale = np.divide(1.0, drives, out=np.zeros_like(drives), where=drives > 0)
        return self.direct * scale, self.total * scale


def measure_effects(
    ends: Sequence[str], rest: Sequence[str], destinations: Sequence[str], clean: Floats, responses: Responses
) -> Effects:
    """Measure all pairs.

    Args:
        ends: sources that an edge can start at (supernodes and input words).
        rest: whatever else can drive a destination (features outside gold, biases), in parcels of any size: it makes
            up the rest of the drive.
        destinations: ends that are read. A source that is also a destination is never measured on itself.
        clean: read-outs of the clean run, `[n_destinations]`.
        responses: the model.
    """
    sources = (*ends, *rest)
    same = np.array([[source == destination for destination in destinations] for source in sources], dtype=bool)
    direct = clean[None] - responses(sources, held=True)
    total = clean[None] - responses(ends, held=False)
    return Effects(
        sources,
        len(ends),
        tuple(destinations),
        np.where(same, 0.0, direct).astype(np.float64),
        np.where(same[: len(ends)], 0.0, total).astype(np.float64),
    )


def decide_edges(
    effects: Effects,
    *,
    story: Collection[tuple[str, str]] | None = None,
    by_pattern: Collection[tuple[str, str]] = (),
    bounds: EdgeBounds | None = None,
) -> tuple[GoldEdge, ...]:
    """Edges of a gold circuit; a pair that is not among them has no edge.

    Args:
        effects: all pairs, measured.
        story: pairs that the known algorithm connects; None if measurement alone decides.
        by_pattern: pairs that the algorithm connects through attention *patterns*, which a graph with frozen patterns
            cannot show.
        bounds: None for the usual ones.

    Returns:
        *Asked*: in the story, and measured above the upper bound; where there is a story, the total effect must have
        the same sign and reach the lower bound, since a story is about what follows in the end. *Undecided*: measured
        between the bounds; above them but outside the story; undone on other paths; or in the story with a total
        effect that goes through what is no end. The sign is measured: of the direct effect, or of the total one where
        there is no direct one.
    """
    bounds = bounds or EdgeBounds()
    direct, total = effects.shares()
    pairs = [
        (source, destination, float(direct[row, column]), float(total[row, column]))
        for row, source in enumerate(effects.sources[: effects.n_ends])
        for column, destination in enumerate(effects.destinations)
    ]
    edges = []
    for source, destination, share, live in pairs:
        told, hidden = story is None or (source, destination) in story, (source, destination) in by_pattern
        measured = abs(share) >= bounds.undecided
        mediated = story is not None and (told or hidden) and abs(live) >= bounds.undecided
        if not measured and not mediated:
            continue
        undone = story is not None and live * np.sign(share) < bounds.undecided
        asked = told and abs(share) >= bounds.asked and not undone
        edges.append(
            GoldEdge(
                source=source,
                destination=destination,
                sign=1 if (share if measured else live) > 0 else -1,
                visible=not hidden,
                status="asked" if asked or hidden else "undecided",
                share=round(share, _DIGITS),
                total=round(live, _DIGITS),
            )
        )
    return tuple(edges)
