"""What a graph alone says of two features belonging together: place, links, what reaches them, what they reach.

Each kind of evidence is a symmetric matrix over the chosen features. Nothing here reads a label, an output word's
meaning or a weight of the model, and nothing depends on the size of a graph's weights or on its number of layers:
weights enter as shares or cosines, layers as shares of the model's depth, positions as shares of the prompt's length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracescribe.agents.grouping.feature_links import (
    FeatureLinks,
    Matrix,
    cosines,
    damped,
    open_cosines,
    overlaps,
    shares,
)

PAIR_EVIDENCE = (
    "same_position",
    "positions_apart",
    "both_last",
    "layers_apart",
    "lower_layer",
    "higher_layer",
    "own_token_least",
    "own_token_apart",
    "saying_apart",
    "saying_least",
    "driving",
    "degree_apart",
    "link_shares",
    "links",
    "centred_incoming",
    "centred_outgoing",
    "incoming",
    "outgoing",
    "token_profile",
    "output_profile",
    "destination_profile",
    "token_flow",
    "incoming_positions",
    "outgoing_positions",
    "common_sources",
    "common_targets",
    "open_incoming",
    "open_outgoing",
    "second_order",
    "mutual_rank",
    "shared_neighbours_3",
    "shared_neighbours_8",
    "neighbours_8",
)
"""Every kind of evidence; `docs/graph-only.md` says what each means."""


def pair_evidence(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    """Every kind of evidence by name, one `[n, n]` matrix at a time, in the order of `PAIR_EVIDENCE`."""
    for part in (_places, _roles, _likenesses, _profiles, _neighbours):
        yield from part(links)


def _apart(values: Matrix) -> Matrix:
    return np.abs(values[:, None] - values[None, :])


def _least(values: Matrix) -> Matrix:
    return np.minimum(values[:, None], values[None, :])


def _places(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    position, depth = links.position.astype(np.float64), links.layer / max(1, links.graph.n_layers)
    last = (links.position == links.position.max(initial=0)).astype(np.float64)
    yield "same_position", (_apart(position) == 0).astype(np.float64)
    yield "positions_apart", _apart(position) / max(1, links.graph.n_pos - 1)
    yield "both_last", np.outer(last, last)
    yield "layers_apart", _apart(depth)
    yield "lower_layer", _least(depth)
    yield "higher_layer", -_least(-depth)


def _roles(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    facts, rows = links.facts, links.rows
    own = links.embedding_shares[np.arange(len(rows)), links.position]
    saying = facts.direct_share[rows]
    drives = facts.drives_among(rows)
    degree = np.log1p((links.incoming != 0).sum(axis=1).astype(np.float64))
    yield "own_token_least", _least(own)
    yield "own_token_apart", _apart(own)
    yield "saying_apart", _apart(saying)
    yield "saying_least", _least(saying)
    yield "driving", np.maximum(drives, drives.T)
    yield "degree_apart", _apart(degree)


def _likenesses(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    of_input, of_targets = damped(shares(links.incoming)), damped(links.received)
    yield "link_shares", cosines(np.hstack([of_input, of_targets]))
    yield "links", _link_cosines(links)
    # what feeds or is fed by everything says little of a pair
    yield "centred_incoming", cosines(of_input - of_input.mean(axis=0))
    yield "centred_outgoing", cosines(of_targets - of_targets.mean(axis=0))
    yield "incoming", cosines(damped(links.incoming))
    yield "outgoing", cosines(damped(links.outgoing))


def _profiles(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    profiles, rows = links.facts.profiles, links.rows
    yield "token_profile", cosines(profiles.inputs[rows].astype(np.float64))
    yield "output_profile", cosines(profiles.outputs[rows].astype(np.float64))
    yield "destination_profile", cosines(profiles.destinations[rows].astype(np.float64))
    yield "token_flow", cosines(np.sqrt(links.embedding_shares))
    at = np.zeros((links.graph.n_nodes, max(1, links.graph.n_pos)))
    at[np.arange(len(at)), links.graph.nodes.position[links.columns]] = 1.0
    yield "incoming_positions", cosines(np.sqrt(np.abs(links.incoming) @ at))
    yield "outgoing_positions", cosines(np.sqrt(np.abs(links.outgoing) @ at))
    yield "common_sources", overlaps(links.incoming)
    yield "common_targets", overlaps(links.outgoing)
    column_layer = links.graph.nodes.layer[links.columns]
    yield "open_incoming", open_cosines(damped(links.incoming), column_layer, links.layer, below=True)
    yield "open_outgoing", open_cosines(damped(links.outgoing), column_layer, links.layer, below=False)


def _neighbours(links: FeatureLinks) -> Iterator[tuple[str, Matrix]]:
    likeness = _link_cosines(links)
    n = len(likeness)
    yield "second_order", cosines(np.maximum(likeness, 0.0))
    # rounded, so that ties stay ties whatever order sums were taken in; equal ones then stand in the rows' order
    ranked = np.round(likeness, 6)
    np.fill_diagonal(ranked, -2.0)
    place = ranked.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") / max(1, n - 1)
    yield "mutual_rank", np.sqrt(place * place.T)
    by_shares = np.round(cosines(np.hstack([damped(shares(links.incoming)), damped(links.received)])), 6)
    nearest = {k: _nearest(by_shares, k) for k in (3, 8)}
    for k, near in nearest.items():
        yield f"shared_neighbours_{k}", near @ near.T / (_how_many(n, k) + 1)
    yield "neighbours_8", (nearest[8] + nearest[8].T) / 2


def _link_cosines(links: FeatureLinks) -> Matrix:
    return cosines(np.hstack([damped(links.incoming), damped(links.outgoing)]))


def _nearest(likeness: Matrix, k: int) -> Matrix:
    """1 where a column is among the `k` nearest of a row, or the row itself, `[n, n]`."""
    n = len(likeness)
    k = _how_many(n, k)
    others = likeness.copy()
    np.fill_diagonal(others, -2.0)
    order = np.argsort(-others, axis=1, kind="stable")[:, :k]
    near = np.eye(n)
    near[np.arange(n)[:, None], order] = 1.0
    return near


def _how_many(n: int, k: int) -> int:
    """Neighbours to look at: at most a quarter of all features, or in a small graph everything would be near everything."""
    return min(k, max(1, n // 4), n - 1) if n > 1 else 0
