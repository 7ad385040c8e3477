"""Draws links as lines that leave a box at the top, arrive at the bottom of the next, and go round boxes between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tracescribe.agents.rendering.boxes import Box
from tracescribe.agents.rendering.circuit import Link
from tracescribe.agents.rendering.curves import (
    Line,
    Point,
    arrow_corners,
    cost,
    near_box,
    point_on,
    rising,
    sampled,
    svg_path,
)
from tracescribe.agents.rendering.layout import Placement

THINNEST, WIDEST = 1.4, 6.0
"""Line widths in pixels, of the weakest and of the strongest link."""
PORT_STEP = 14.0
MAX_TURNS = 2
"""How often a part of a detour may itself go round a box."""
BADGE_RADIUS = 9.0
_RISES = (0.5, 0.25, 0.75, 1.0)
"""How far up, as a share of the way, a line keeps the direction in which it leaves or arrives."""
_BENDS = ((0.5, 0.5), (0.15, 0.85), (0.85, 0.15))
"""Where a part of a detour moves sideways: evenly, at its beginning, at its end."""
_REACHES = (30.0, 60.0, 110.0)
_DETOURS = (12.0, 24.0, 40.0)
"""Pixels beside a box at which a line passes it."""


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


def _ports(links: Sequence[Link], boxes: Mapping[str, Box], side: str) -> dict[tuple[str, str], float]:
    """Horizontal place of every link's start (`out`) or end (`in`) on its box.

    Ordered by the direction of the far ends, so that neighbours do not cross; of ends in one direction the farther goes
    to the right, where its line goes round the nearer.
    """
    far: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for link in links:
        near, other = (link.source, link.destination) if side == "out" else (link.destination, link.source)
        across, up = boxes[other].centre - boxes[near].centre, abs(boxes[other].middle - boxes[near].middle)
        far[near].append((round(math.atan2(across, up), 1), up, other))
    ports: dict[tuple[str, str], float] = {}
    for near, others in far.items():
        box = boxes[near]
        step = min(PORT_STEP, (box.width - 20) / max(1, len(others)))
        for place, (*_, other) in enumerate(sorted(others)):
            key = (near, other) if side == "out" else (other, near)
            ports[key] = box.centre + (place - (len(others) - 1) / 2) * step
    return ports


def _around(start: Point, end: Point, blocks: Sequence[Box]) -> list[Line]:
    """Lines of two curves that pass beside the boxes in the way: beside each, and beside all of them together."""
    if not blocks:
        return []
    left, right = min(box.x for box in blocks), max(box.right for box in blocks)
    top, bottom = min(box.y for box in blocks), max(box.bottom for box in blocks)
    lines: list[Line] = []
    for box, detour in product([*blocks, Box(left, top, right - left, bottom - top)], _DETOURS):
        for x, y in product((box.right + detour, box.x - detour), (box.middle, box.y, box.bottom)):
            if end[1] + 12 < y < start[1] - 12:
                lines += [
                    (rising(start, (x, y), *first), rising((x, y), end, *second))
                    for first, second in product(_BENDS, _BENDS)
                ]
    return lines


def _sideways(source: Box, destination: Box) -> list[Line]:
    """Lines between boxes at one height, or downward: out of one flank and into the other's."""
    lines: list[Line] = []
    for leave, arrive, reach in product((1, -1), (1, -1), _REACHES):
        start = (source.right if leave > 0 else source.x, source.middle)
        end = (destination.right if arrive > 0 else destination.x, destination.middle)
        lines.append(((start, (start[0] + leave * reach, start[1]), (end[0] + arrive * reach, end[1]), end),))
    return lines


def _best(lines: Sequence[Line], foreign: Sequence[Box], placement: Placement) -> tuple[float, Line]:
    prices = cost(lines, foreign, placement.width, placement.height)
    index = int(prices.argmin())
    return float(prices[index]), lines[index]


def _rising_line(start: Point, end: Point, foreign: Sequence[Box], placement: Placement, turns: int) -> Line:
    """The best line upward: straight, or round the boxes in its way, each part of a detour treated alike."""
    straight: list[Line] = [(rising(start, end, leave, arrive),) for leave, arrive in product(_RISES, _RISES)]
    found = [_best(straight, foreign, placement)]
    points = sampled([found[0][1]])
    detours = _around(start, end, [box for box in foreign if near_box(points, box).any()])
    if turns and detours:
        price, detour = _best(detours, foreign, placement)
        found.append((price, detour))
        points = sampled([detour])
        if any(near_box(points, box).any() for box in foreign):
            parts = [_rising_line(part[0], part[3], foreign, placement, turns - 1) for part in detour]
            found.append(_best([tuple(curve for part in parts for curve in part)], foreign, placement))
    return min(found, key=lambda item: item[0])[1]


def _line(source: Box, destination: Box, x: tuple[float, float], foreign: Sequence[Box], placement: Placement) -> Line:
    """The best line from one box to another; `x` is where it leaves and arrives."""
    if destination.bottom >= source.y - 8:
        return _best(_sideways(source, destination), foreign, placement)[1]
    return _rising_line((x[0], source.y), (x[1], destination.bottom + 1), foreign, placement, MAX_TURNS)


def _badge(line: Line, boxes: Iterable[Box], taken: list[Point]) -> Point:
    """A free spot on the line, as near its middle as boxes and other badges allow."""
    solid = list(boxes)
    for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
        x, y = point_on(line, share)
        around = Box(x - BADGE_RADIUS, y - BADGE_RADIUS, 2 * BADGE_RADIUS, 2 * BADGE_RADIUS)
        if not any(around.overlaps(box, 2) for box in solid) and all(
            math.dist((x, y), spot) > 2 * BADGE_RADIUS + 2 for spot in taken
        ):
            break
    else:
        x, y = point_on(line, 0.5)
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
    """Lines for all links, weakest first so that strong ones lie on top.

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
        key = (link.source, link.destination)
        foreign = [box for node, box in obstacles.items() if node not in key]
        line = _line(boxes[link.source], boxes[link.destination], (starts[key], ends[key]), foreign, placement)
        share = abs(link.weight) / strongest[link.destination in outputs]
        width = THINNEST + (WIDEST - THINNEST) * share
        badge = _badge(line, obstacles.values(), taken) if link.outcome else None
        routes.append(Route(link, svg_path(line, width), arrow_corners(line, width), width, badge))
    return tuple(routes)
