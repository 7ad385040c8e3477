"""Random circuits of a circuit's own size, drawn from the features that fire in the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracescribe.agents.experiment_settings import MIN_CONTROLS
from tracescribe.tracer.controls import SUBSETS_MATCHED_ON, matched_subsets
from tracescribe.tracer.graph import FeatureNode


def random_circuits(
    rng: np.random.Generator, keep: Sequence[FeatureNode], active: Sequence[FeatureNode], n: int
) -> tuple[list[tuple[FeatureNode, ...]], tuple[str, ...]]:
    """Random circuits of the same size, and what they are matched on.

    They are matched layer by layer where that leaves enough of them for a verdict. In a short prompt it may not: then
    they are matched in their number of features alone, and the second value says so.

    Args:
        rng: source of the draws.
        keep: the tested circuit.
        active: features to draw from, `keep` among them.
        n: circuits wanted; fewer come back where no more distinct ones exist.

    Raises:
        SettingError: an empty circuit, one with features outside the pool, or none wanted.
    """
    circuits = matched_subsets(rng, keep, active, n)
    if len(circuits) >= MIN_CONTROLS:
        return circuits, SUBSETS_MATCHED_ON
    one_layer = {FeatureNode(0, index, 0): node for index, node in enumerate(active)}
    chosen = [stand_in for stand_in, node in one_layer.items() if node in set(keep)]
    looser = matched_subsets(rng, chosen, tuple(one_layer), n)
    if len(looser) <= len(circuits):
        return circuits, SUBSETS_MATCHED_ON
    matched_on = tuple(what for what in SUBSETS_MATCHED_ON if what != "layer")
    return [tuple(one_layer[stand_in] for stand_in in circuit) for circuit in looser], matched_on
