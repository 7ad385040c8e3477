"""Matched random controls: what an intervention or a label is compared with, drawn from a seeded generator.

A control has the same number, layers, positions and sizes as what is tested, but other features. Fewer controls than
asked for come back where no more distinct ones exist; the caller decides whether those are enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tracescribe.tracer.edits import FeatureShift
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import FeatureNode, FeatureRef, FloatArray, IntArray
from tracescribe.tracer.provenance import sha256_json

SHIFTS_MATCHED_ON = ("number of features", "layer", "position", "shift size (amount x decoder norm)")
"""What `matched_shifts` holds equal."""
FEATURES_MATCHED_ON = ("number of features", "layer", "firing density (nearest deciles)")
"""What `matched_features` holds equal."""
SUBSETS_MATCHED_ON = ("number of features", "layer", "active in the prompt")
"""What `matched_subsets` holds equal."""
N_DENSITY_BINS = 10
"""Deciles: in a layer of some hundred live features each still holds tens of them."""
ENUMERATE_BELOW = 4
"""Where at most this many times the wanted controls exist, all are listed and shuffled; else repeats are redrawn."""
MAX_MISSES = 1000
"""Failed draws in a row after which no further distinct control is expected: pools that overlap and are too small."""


def matched_shifts(
    rng: np.random.Generator,
    shifts: Sequence[FeatureShift],
    live: Mapping[int, IntArray],
    exclude: Collection[FeatureRef],
    n: int,
    decoder_norms: Mapping[int, FloatArray] | None = None,
) -> list[tuple[FeatureShift, ...]]:
    """Control rows for an intervention: every feature is replaced by a random live one of the same layer.

    A feature that is shifted at several positions is replaced by one and the same feature there; two features of a
    control never coincide. Controls are distinct.

    Args:
        rng: source of the draws.
        shifts: what is tested, as shifts (`edits.as_shifts`).
        live: by layer, the indices of the features that ever fire (`EvidenceStore.live`).
        exclude: features never drawn, besides those of `shifts`: the tested circuit's other members.
        n: controls wanted.
        decoder_norms: by layer, `[n_features]` norms of the decoders over all layers written to; amounts are scaled
            so that amount x norm stays the same. None where all norms are equal.

    Returns:
        At most `n` rows, each in the order of `shifts`.

    Raises:
        SettingError: no shifts, or fewer than one control asked for.
    """
    if not shifts:
        raise SettingError("no shifts to match controls to; an intervention that changes nothing needs none")
    tested = tuple(dict.fromkeys(shift.ref for shift in shifts))
    barred = {*exclude, *tested}
    pools = {layer: _pool(layer, live, barred) for layer in {ref.layer for ref in tested}}
    slots = [tested.index(shift.ref) for shift in shifts]
    return [
        tuple(_replaced(shift, drawn[slot], decoder_norms) for shift, slot in zip(shifts, slots, strict=True))
        for drawn in _distinct(rng, [pools[ref.layer] for ref in tested], n)
    ]


def matched_features(
    rng: np.random.Generator,
    features: Sequence[FeatureRef],
    density: Mapping[int, FloatArray],
    n: int,
    exclude: Collection[FeatureRef] = (),
) -> list[tuple[FeatureRef, ...]]:
    """Control features for claims about what features respond to: same layer, nearest firing density.

    The live features of a layer are cut into deciles of density; each tested feature's pool is its own decile, widened
    by the next nearest ones until `n` controls can be drawn from it or the layer is exhausted.

    Args:
        rng: source of the draws.
        features: what is tested.
        density: by layer, `[n_features]` share of tokens on which each fires; 0 marks a dead feature.
        n: controls wanted.
        exclude: features never drawn, besides `features`.

    Returns:
        At most `n` tuples, distinct, each in the order of `features`.

    Raises:
        SettingError: no features, or fewer than one control asked for.
    """
    if not features:
        raise SettingError("no features to match controls to")
    barred = {*exclude, *features}
    return _distinct(rng, [_near_density(ref, density[ref.layer], barred, n) for ref in features], n)


def matched_subsets(
    rng: np.random.Generator, chosen: Sequence[FeatureNode], pool: Sequence[FeatureNode], n: int
) -> list[tuple[FeatureNode, ...]]:
    """Control circuits of the same size in every layer, drawn from a prompt's features.

    Args:
        rng: source of the draws.
        chosen: the tested circuit.
        pool: the features to draw from, `chosen` among them: a random circuit may share members with the tested one,
            but never equals it.
        n: controls wanted.

    Returns:
        At most `n` circuits, distinct, each sorted.

    Raises:
        SettingError: nothing chosen, fewer than one control asked for, or a chosen feature outside the pool.
    """
    _check_wanted(n)
    tested = tuple(sorted(set(chosen)))
    outside = set(tested) - set(pool)
    if not tested or outside:
        raise SettingError(f"the tested circuit must be a part of the pool; {len(outside)} of {len(tested)} are not")
    layers = sorted({node.layer for node in tested})
    members = {layer: sorted({node for node in pool if node.layer == layer}) for layer in layers}
    sizes = {layer: sum(node.layer == layer for node in tested) for layer in layers}

    groups = [(members[layer], sizes[layer]) for layer in layers]
    total = math.prod(math.comb(len(nodes), size) for nodes, size in groups)
    if total <= ENUMERATE_BELOW * n:
        parts = itertools.product(*(itertools.combinations(nodes, size) for nodes, size in groups))
        every = [circuit for part in parts if (circuit := tuple(itertools.chain(*part))) != tested]
        return [every[i] for i in rng.permutation(len(every))[:n]]
    found: dict[tuple[FeatureNode, ...], None] = {}
    while len(found) < n:
        drawn = tuple(nodes[i] for nodes, size in groups for i in sorted(rng.permutation(len(nodes))[:size].tolist()))
        if drawn != tested:
            found[drawn] = None
    return list(found)


def controls_sha256(controls: Sequence[Sequence[FeatureShift | FeatureRef | FeatureNode]]) -> str:
    """Content hash of drawn controls, fixed in a plan before anything is measured."""
    return sha256_json([[_plain(item) for item in control] for control in controls])


def _plain(item: FeatureShift | FeatureRef | FeatureNode) -> list[object]:
    if not isinstance(item, FeatureShift):
        return list(item)
    where = item.position
    position = [where.start, where.stop] if isinstance(where, slice) else where
    return [item.layer, position, item.feature, item.amount]


def _check_wanted(n: int) -> None:
    if n < 1:
        raise SettingError(f"the number of controls must be at least 1, found {n}")


def _pool(layer: int, live: Mapping[int, IntArray], barred: Collection[FeatureRef]) -> list[FeatureRef]:
    refs = (FeatureRef(layer, int(feature)) for feature in live.get(layer, np.zeros(0, dtype=np.int64)))
    return [ref for ref in refs if ref not in barred]


def _replaced(shift: FeatureShift, ref: FeatureRef, decoder_norms: Mapping[int, FloatArray] | None) -> FeatureShift:
    if decoder_norms is None:
        return replace(shift, feature=ref.feature)
    norms = decoder_norms[shift.layer]
    # a live feature that writes nothing could not be matched by any amount
    ratio = float(norms[shift.feature]) / max(float(norms[ref.feature]), float(np.finfo(np.float32).tiny))
    return replace(shift, feature=ref.feature, amount=shift.amount * ratio)


def _near_density(ref: FeatureRef, density: FloatArray, barred: Collection[FeatureRef], n: int) -> list[FeatureRef]:
    """Pool of one feature: whole deciles, nearest first, until it holds `n`."""
    alive = np.flatnonzero(density > 0)
    edges = np.quantile(density[alive], np.linspace(0, 1, N_DENSITY_BINS + 1)[1:-1]) if len(alive) else np.zeros(0)
    distance = np.abs(np.searchsorted(edges, density[alive]) - np.searchsorted(edges, density[ref.feature]))
    pool: list[FeatureRef] = []
    for step in np.unique(distance):
        found = (FeatureRef(ref.layer, int(feature)) for feature in alive[distance == step])
        pool.extend(candidate for candidate in found if candidate not in barred)
        if len(pool) >= n:
            break
    return sorted(pool)


def _distinct(rng: np.random.Generator, pools: Sequence[Sequence[FeatureRef]], n: int) -> list[tuple[FeatureRef, ...]]:
    """Up to `n` distinct tuples with one feature from each pool, none twice within a tuple."""
    _check_wanted(n)
    if math.prod(len(pool) for pool in pools) <= ENUMERATE_BELOW * n:
        every = [drawn for drawn in itertools.product(*pools) if len(set(drawn)) == len(drawn)]
        return [every[i] for i in rng.permutation(len(every))[:n]]
    found: dict[tuple[FeatureRef, ...], None] = {}
    misses = 0
    while len(found) < n and misses < MAX_MISSES:
        drawn = _one_draw(rng, pools)
        misses = misses + 1 if drawn is None or drawn in found else 0
        if drawn is not None:
            found[drawn] = None
    return list(found)


def _one_draw(rng: np.random.Generator, pools: Sequence[Sequence[FeatureRef]]) -> tuple[FeatureRef, ...] | None:
    """One feature from each pool, none twice; None where a pool runs out."""
    taken: dict[FeatureRef, None] = {}
    for pool in pools:
        ref = pool[int(rng.integers(len(pool)))]
        if ref in taken:
            left = [other for other in pool if other not in taken]
            if not left:
                return None
            ref = left[int(rng.integers(len(left)))]
        taken[ref] = None
    return tuple(taken)
