"""Random circuits of a circuit's own size: what it is compared with when the question is whether it alone does the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON, SUBSETS_MATCHED_ON, matched_shifts, matched_subsets
from tracescribe.tracer.edits import FeatureShift, Row, ablation
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


@dataclass(frozen=True, eq=False)
class RandomCircuits:
    """Random circuits as runs of the model, in the same order in both.

    Attributes:
        alone: each is left while every other feature is switched off.
        removed: each is taken away, and everything else is left.
        matched_on: what each shares with the tested circuit.
    """

    alone: tuple[Row, ...]
    removed: tuple[Row, ...]
    matched_on: tuple[str, ...]


def random_circuits(
    tools: CaseTools, rng: np.random.Generator, circuit: Sequence[FeatureNode], active: Sequence[FeatureNode], n: int
) -> RandomCircuits:
    """Random circuits of the same size in every layer.

    They are drawn from the features that fire in the prompt, where at least `MIN_CONTROLS` such circuits exist: those
    compete for the same work. In a short prompt few features fire, or all of them are the circuit. Then random live
    features stand in, at the circuit's positions and with its strength: what is told is whether the answer needs *these*
    features, or as large a push of any.

    Args:
        rng: source of the draws.
        circuit: the tested circuit, all of it active.
        active: all features that fire in the prompt.
        n: circuits wanted; fewer come back where no more distinct ones exist.

    Raises:
        SettingError: an empty circuit, one with features that do not fire, or none wanted.
    """
    drawn = matched_subsets(rng, circuit, active, n)
    if len(drawn) >= min(n, MIN_CONTROLS):
        return RandomCircuits(
            alone=tuple(ablation(node for node in active if node not in set(nodes)) for nodes in drawn),
            removed=tuple(ablation(nodes) for nodes in drawn),
            matched_on=SUBSETS_MATCHED_ON,
        )
    clean = tools.clean()
    pushes = [FeatureShift(node.layer, node.position, node.feature, clean.activation(node)) for node in circuit]
    layers = sorted({node.layer for node in circuit})
    live = {layer: tools.live(layer) for layer in layers}
    norms = {layer: tools.toolbox.decoder_norms(layer) for layer in layers}
    stand_ins = matched_shifts(rng, pushes, live, {node.ref for node in active}, n, norms)
    nothing = ablation(active)
    return RandomCircuits(
        alone=tuple((*nothing, *row) for row in stand_ins),
        removed=tuple(tuple(_taken_away(shift) for shift in row) for row in stand_ins),
        matched_on=SHIFTS_MATCHED_ON,
    )


def _taken_away(shift: FeatureShift) -> FeatureShift:
    return FeatureShift(shift.layer, shift.position, shift.feature, -shift.amount)
