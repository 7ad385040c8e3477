"""Boxes of the drawing: rectangles, and how large the box of each kind of thing must be for its text."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.agents.rendering.circuit import Output, Step, Token
from tracescribe.agents.rendering.visible_text import shorten, text_width, wrap

LABEL_SIZE, SMALL_SIZE = 13.0, 11.5
"""Font sizes in pixels."""
LABEL_LINE, SMALL_LINE = 17.0, 16.0
LABEL_WIDTH, MIN_BOX_WIDTH = 128.0, 92.0
MAX_LABEL_LINES = 3
PAD = 10.0
MARK_SIZE, MARK_ROW = 13.0, 20.0
TOKEN_HEIGHT, OUTPUT_HEIGHT = 30.0, 48.0
MAX_TOKEN_WIDTH, MAX_OUTPUT_WIDTH = 118.0, 132.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; `x`, `y` is its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> float:
        """Horizontal middle."""
        return self.x + self.width / 2

    @property
    def middle(self) -> float:
        """Vertical middle."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Lower side."""
        return self.y + self.height

    def overlaps(self, other: Box, gap: float = 0.0) -> bool:
        """Whether two boxes come closer than `gap` pixels."""
        return (
            self.x < other.right + gap
            and other.x < self.right + gap
            and self.y < other.bottom + gap
            and other.y < self.bottom + gap
        )


def step_lines(step: Step) -> tuple[str, ...]:
    """A step's label, broken into the lines of its box."""
    return tuple(wrap(step.label, LABEL_WIDTH, LABEL_SIZE, MAX_LABEL_LINES, bold=True))


def step_size(step: Step) -> tuple[float, float]:
    """Width and height of a step's box in pixels."""
    lines = step_lines(step)
    inner = max(
        *(text_width(line, LABEL_SIZE, bold=True) for line in lines),
        text_width("rejected" if step.rejected else step.role, SMALL_SIZE),
        marks_width(step),
        MIN_BOX_WIDTH - 2 * PAD,
    )
    return inner + 2 * PAD, 2 * PAD - 2 + len(lines) * LABEL_LINE + SMALL_LINE + MARK_ROW


def marks_width(step: Step) -> float:
    """Width of the row of verdict marks under a label, in pixels."""
    if not step.outcomes:
        return text_width("not tested", SMALL_SIZE)
    return len(step.outcomes) * (MARK_SIZE + 4 + text_width("00", SMALL_SIZE) + 6)


def token_width(token: Token) -> float:
    """Width of a token's box in pixels."""
    return min(MAX_TOKEN_WIDTH, max(28.0, text_width(token.text, LABEL_SIZE) + 14))


def output_width(output: Output) -> float:
    """Width of an output's box in pixels."""
    return min(MAX_OUTPUT_WIDTH, max(72.0, text_width(output.text, LABEL_SIZE, bold=True) + 2 * PAD))


def token_line(token: Token) -> str:
    """A token's text, cut to fit its box."""
    return shorten(token.text, MAX_TOKEN_WIDTH - 14, LABEL_SIZE)


def output_line(output: Output) -> str:
    """An output's text, cut to fit its box."""
    return shorten(output.text, MAX_OUTPUT_WIDTH - 2 * PAD, LABEL_SIZE, bold=True)
