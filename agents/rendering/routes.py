"""Draws links as curves that leave a box at the top, arrive at the bottom of the next, and go round boxes between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tracescribe.agents.rendering.boxes import Box
from tracescribe.agents.rendering.circuit import Link
from tracescribe.agents.rendering.layout import Placement

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]
"""Start, two control points and end of a cubic curve."""

THINNEST, WIDEST = 1.4, 6.0
"""Line widths in pixels, of the weakest and of the strongest link."""
PORT_STEP = 14.0
CLEARANCE = 5.0
"""Pixels that a line keeps from boxes it does not belong to."""
_RISES = (0.5, 0.25, 0.75, 1.0)
"""How far up, as a share of the way, a curve keeps the direction in which it leaves or arrives."""
_BOWS = (40.0, -40.0, 80.0, -80.0, 130.0, -130.0, 190.0, -190.0)
_BOWED_RISES = (0.45, 0.8)
_SAMPLES = 28
_HIT_COST, _OUTSIDE_COST = 400.0, 400.0
"""Cost, in pixels of detour, of a sample point behind a foreign box, or outside the drawing."""
ARROW_LENGTH = 7.0
BADGE_RADIUS = 9.0


@dataclass(frozen=True)
class Route:
    """A link as drawn.

    Attributes:
        path: SVG path of the line.
        arrow: corners of the arrow head.
        width: line width in pixels.
        badge: where the verdict on this connection is shown, None where there is no claim about it.
    """

    link: Link
    path: str
    arrow: str
    width: float
    badge: Point | None


def point_on(curve: Curve, t: float) -> Point:
    """The point of a cubic curve at `t` from 0 to 1."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return (
        sum(w * p[0] for w, p in zip(weights, curve, strict=True)),
        sum(w * p[1] for w, p in zip(weights, curve, strict=True)),
    )


def _ports(links: Sequence[Link], boxes: Mapping[str, Box], side: str) -> dict[tuple[str, str], float]:
    """Horizontal place of every link's start (`out`) or end (`in`) on its box, in the order of the far ends."""
    far: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for link in links:
        near, other = (link.source, link.destination) if side == "out" else (link.destination, link.source)
        # of ends right above one another the farther goes to the right, where its curve goes round the nearer
        height = boxes[other].y if side == "in" else -boxes[other].y
        far[near].append((boxes[other].centre, height, other))
    ports: dict[tuple[str, str], float] = {}
    for near, others in far.items():
        box = boxes[near]
        step = min(PORT_STEP, (box.width - 20) / max(1, len(others)))
        for place, (*_, other) in enumerate(sorted(others)):
            key = (near, other) if side == "out" else (other, near)
            ports[key] = box.centre + (place - (len(others) - 1) / 2) * step
    return ports


def _upward(start: Point, end: Point) -> list[Curve]:
    """Curves that rise from one point to another: straight up at both ends, or bowed to one side."""
    rise = start[1] - end[1]
    shapes = [(leave, arrive, 0.0) for leave, arrive in product(_RISES, _RISES)]
    shapes += [(share, share, bow) for share, bow in product(_BOWED_RISES, _BOWS)]
    return [
        (start, (start[0] + bow, start[1] - leave * rise), (end[0] + bow, end[1] + arrive * rise), end)
        for leave, arrive, bow in shapes
    ]


def _sideways(source: Box, destination: Box) -> list[Curve]:
    """Curves between boxes at one height, or downward: out of one flank and into the other's."""
    curves: list[Curve] = []
    for leave, arrive in product((1, -1), (1, -1)):
        start = (source.right if leave > 0 else source.x, source.middle)
        end = (destination.right if arrive > 0 else destination.x, destination.middle)
        for reach in (30.0, 60.0, 110.0):
            curves.append((start, (start[0] + leave * reach, start[1]), (end[0] + arrive * reach, end[1]), end))
    return curves


def _cheapest(candidates: Sequence[Curve], obstacles: Sequence[Box], placement: Placement) -> Curve:
    """The shortest curve, where every sample point behind a foreign box or outside the drawing costs a detour."""
    t = np.linspace(0.0, 1.0, _SAMPLES + 1)
    bernstein = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], axis=1)
    points = np.einsum("sk,ckx->csx", bernstein, np.asarray(candidates))
    cost = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(axis=1)
    x, y = points[..., 0], points[..., 1]
    for box in obstacles:
        hit = (x > box.x - CLEARANCE) & (x < box.right + CLEARANCE)
        hit &= (y > box.y - CLEARANCE) & (y < box.bottom + CLEARANCE)
        cost += _HIT_COST * hit.sum(axis=1)
    outside = (x < 4) | (x > placement.width - 4) | (y < 4) | (y > placement.height - 4)
    cost += _OUTSIDE_COST * outside.sum(axis=1)
    return candidates[int(np.argmin(np.round(cost, 6)))]


def _arrow(curve: Curve, width: float) -> str:
    """Corners of a triangle whose tip is the curve's end."""
    (cx, cy), (x, y) = curve[2], curve[3]
    length = math.hypot(x - cx, y - cy) or 1.0
    ux, uy = (x - cx) / length, (y - cy) / length
    half = 2.6 + width / 2
    reach = ARROW_LENGTH + width / 2
    corners = (
        (x, y),
        (x - reach * ux - half * uy, y - reach * uy + half * ux),
        (x - reach * ux + half * uy, y - reach * uy - half * ux),
    )
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)


def _path(curve: Curve, width: float) -> str:
    """The line, ending where the arrow head begins so that it does not stick out of the tip."""
    (cx, cy), (x, y) = curve[2], curve[3]
    length = math.hypot(x - cx, y - cy) or 1.0
    back = ARROW_LENGTH + width / 2 - 1
    end = (x - back * (x - cx) / length, y - back * (y - cy) / length)
    (x0, y0), (x1, y1) = curve[0], curve[1]
    return f"M{x0:.1f} {y0:.1f}C{x1:.1f} {y1:.1f} {cx:.1f} {cy:.1f} {end[0]:.1f} {end[1]:.1f}"


def _badge(curve: Curve, boxes: Iterable[Box], taken: list[Point]) -> Point:
    """A free spot on the curve, as near its middle as boxes and other badges allow."""
    solid = list(boxes)
    for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
        x, y = point_on(curve, t)
        around = Box(x - BADGE_RADIUS, y - BADGE_RADIUS, 2 * BADGE_RADIUS, 2 * BADGE_RADIUS)
        if not any(around.overlaps(box, 2) for box in solid) and all(
            math.dist((x, y), spot) > 2 * BADGE_RADIUS + 2 for spot in taken
        ):
            break
    else:
        x, y = point_on(curve, 0.5)
    taken.append((x, y))
    return x, y


def _strongest(links: Sequence[Link], outputs: frozenset[str]) -> dict[bool, float]:
    """Largest weight into outputs and into all else: the two have other units, so each has its own scale."""
    strongest = {True: 0.0, False: 0.0}
    for link in links:
        kind = link.destination in outputs
        strongest[kind] = max(strongest[kind], abs(link.weight))
    return strongest


def route(links: Sequence[Link], placement: Placement, outputs: frozenset[str]) -> tuple[Route, ...]:
    """Curves for all links, weakest first so that strong ones lie on top.

    Args:
        links: both ends of each must have a box.
        placement: from `lay_out`.
        outputs: node ids of output tokens.
    """
    boxes = placement.boxes
    obstacles = {**boxes, **{f"fold {i}": fold.box for i, fold in enumerate(placement.folds)}}
    starts, ends = _ports(links, boxes, "out"), _ports(links, boxes, "in")
    strongest = _strongest(links, outputs)
    taken: list[Point] = []
    routes: list[Route] = []
    for link in sorted(links, key=lambda item: (abs(item.weight), item.source, item.destination)):
        source, destination = boxes[link.source], boxes[link.destination]
        key = (link.source, link.destination)
        if destination.bottom < source.y - 8:
            candidates = _upward((starts[key], source.y), (ends[key], destination.bottom + 1))
        else:
            candidates = _sideways(source, destination)
        foreign = [box for node, box in obstacles.items() if node not in key]
        curve = _cheapest(candidates, foreign, placement)
        share = abs(link.weight) / strongest[link.destination in outputs]
        width = THINNEST + (WIDEST - THINNEST) * share
        badge = _badge(curve, obstacles.values(), taken) if link.outcome else None
        routes.append(Route(link, _path(curve, width), _arrow(curve, width), width, badge))
    return tuple(routes)
