"""Smooth lines made of cubic curves: where they run, what they cost, and how SVG writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.rendering.boxes import Box

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]
"""Start, two control points and end of a cubic curve."""
Line = tuple[Curve, ...]
"""Curves of which each starts where the one before ends."""

CLEARANCE = 5.0
"""Pixels that a line keeps from boxes it does not belong to."""
ARROW_LENGTH = 7.0
_SAMPLES = 28
_HIDDEN_PRICE = 15.0
"""Pixels of detour that a pixel behind a foreign box, or outside the drawing, is worth."""
_LEFT_COST = 40.0
"""Cost of setting out to the left: ports are ordered for lines that go round to the right."""


def rising(start: Point, end: Point, leave: float = 0.5, arrive: float = 0.5) -> Curve:
    """A curve that leaves straight up and arrives straight up, keeping each direction for a share of the way."""
    rise = start[1] - end[1]
    return start, (start[0], start[1] - leave * rise), (end[0], end[1] + arrive * rise), end


def point_on(line: Line, share: float) -> Point:
    """The point of a line at a share, from 0 to 1, of its parameter."""
    place = min(share * len(line), len(line) - 1e-9)
    curve, t = line[int(place)], place - int(place)
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return (
        sum(w * p[0] for w, p in zip(weights, curve, strict=True)),
        sum(w * p[1] for w, p in zip(weights, curve, strict=True)),
    )


def sampled(lines: Sequence[Line]) -> NDArray[np.float64]:
    """Points along lines of equally many curves, `[n_lines, n_points, 2]`."""
    t = np.linspace(0.0, 1.0, _SAMPLES + 1)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], axis=1)
    points: NDArray[np.float64] = np.einsum("sk,lckx->lcsx", weights, np.asarray(lines, dtype=np.float64))
    return points.reshape(len(lines), -1, 2)


def near_box(points: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Which points come too near to a box, `[n_lines, n_points]`."""
    x, y = points[..., 0], points[..., 1]
    across = (x > box.x - CLEARANCE) & (x < box.right + CLEARANCE)
    return across & (y > box.y - CLEARANCE) & (y < box.bottom + CLEARANCE)


def cost(lines: Sequence[Line], boxes: Sequence[Box], width: float, height: float) -> NDArray[np.float64]:
    """Length in pixels, what is hidden behind boxes or outside a drawing of this size many times, `[n_lines]`."""
    points = sampled(lines)
    x, y = points[..., 0], points[..., 1]
    hidden = ((x < 4) | (x > width - 4) | (y < 4) | (y > height - 4)).astype(np.float64)
    for box in boxes:
        hidden += near_box(points, box)
    lengths: NDArray[np.float64] = np.linalg.norm(np.diff(points, axis=1), axis=2)
    leftward = np.asarray([line[0][3][0] < line[0][0][0] for line in lines]) & (len(lines[0]) > 1)
    price = (lengths * (1 + _HIDDEN_PRICE * np.maximum(hidden[:, 1:], hidden[:, :-1]))).sum(axis=1)
    rounded: NDArray[np.float64] = np.round(price + _LEFT_COST * leftward, 6)
    return rounded


def arrow_corners(line: Line, width: float) -> str:
    """Corners of a triangle whose tip is the line's end."""
    (cx, cy), (x, y) = line[-1][2], line[-1][3]
    length = math.hypot(x - cx, y - cy) or 1.0
    ux, uy = (x - cx) / length, (y - cy) / length
    half, reach = 2.6 + width / 2, ARROW_LENGTH + width / 2
    corners = (
        (x, y),
        (x - reach * ux - half * uy, y - reach * uy + half * ux),
        (x - reach * ux + half * uy, y - reach * uy - half * ux),
    )
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)


def svg_path(line: Line, width: float) -> str:
    """The line, ending where its arrow head begins so that it does not stick out of the tip."""
    (cx, cy), (x, y) = line[-1][2], line[-1][3]
    length = math.hypot(x - cx, y - cy) or 1.0
    back = ARROW_LENGTH + width / 2 - 1
    end = (x - back * (x - cx) / length, y - back * (y - cy) / length)
    parts = [f"M{line[0][0][0]:.1f} {line[0][0][1]:.1f}"]
    for number, (_, first, second, stop) in enumerate(line):
        last = end if number == len(line) - 1 else stop
        parts.append(f"C{first[0]:.1f} {first[1]:.1f} {second[0]:.1f} {second[1]:.1f} {last[0]:.1f} {last[1]:.1f}")
    return "".join(parts)
