"""Which leading positions of a prompt have no features, and what a prompt must begin with.

Activations at the first token are outliers that transcoders are not trained on, so features and errors are left out
there. Instruction-tuned Gemma 3 treats the whole opening of a user turn that way, and expects every prompt to have it.

Source: circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer), `zero_positions`. There the model's name alone
decides, with its case, so a renamed folder silently loses the rule; here the files of the model are asked as well: the
conversion that all released checkpoints went through (`convert_gemma3_weights.py` in `transformers`) lets generation
end at `<end_of_turn>` in instruction-tuned models only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tracescribe.tracer.errors import SettingError

GEMMA3_TURN = (2, 105, 2364, 107)
"""`<bos><start_of_turn>user` and a line break, in the vocabulary that all Gemma 3 models share."""

_END_OF_TURN = 106
"""Gemma 3's `<end_of_turn>`: generation stops at it only in instruction-tuned models."""

_GEMMA3_FAMILIES = ("gemma3", "gemma3_text")
_TUNED_NAME = re.compile(r"gemma[-_ ]?3(?!n).*[-_]it(?![a-z0-9])", re.IGNORECASE)
_PRETRAINED_NAME = re.compile(r"gemma[-_ ]?3(?!n).*[-_]pt(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class PositionRule:
    """What holds at the start of a model's prompts.

    Attributes:
        zero_positions: leading positions without features and errors.
        required_prefix: ids that every prompt must begin with; () for none.
        optional_prefix: ids that, where a prompt begins with them, are left out as a whole; () for none.
        reason: where the rule comes from, for messages and records.
    """

    zero_positions: int = 1
    required_prefix: tuple[int, ...] = ()
    optional_prefix: tuple[int, ...] = ()
    reason: str = "the first token of a prompt has no features"

    def positions_of(self, tokens: Sequence[int]) -> int:
        """Leading positions without features in one prompt."""
        prefix = self.optional_prefix
        if prefix and tuple(tokens[: len(prefix)]) == prefix:
            return max(len(prefix), self.zero_positions)
        return self.zero_positions


def position_rule(
    family: str, names: Sequence[str] = (), folder: Path | None = None, zero_positions: int | None = None
) -> PositionRule:
    """The rule of a model.

    Args:
        family: `model_type` of its configuration.
        names: what it is called: hub id, folder.
        folder: its files, which tell an instruction-tuned model whatever it is called.
        zero_positions: a number to take instead; no prefix is asked for then.

    Raises:
        SettingError: a number of positions that is no integer from 0 up.
    """
    if zero_positions is not None:
        if isinstance(zero_positions, bool) or not isinstance(cast(object, zero_positions), int) or zero_positions < 0:
            raise SettingError(f"zero_positions must be an integer from 0 up, or None, found {zero_positions!r}")
        return PositionRule(zero_positions, reason=f"zero_positions = {zero_positions} was given")
    if family not in _GEMMA3_FAMILIES:
        return PositionRule()
    reason = _why_instruction_tuned(names, folder)
    if reason:
        return PositionRule(len(GEMMA3_TURN), required_prefix=GEMMA3_TURN, reason=reason)
    return PositionRule(optional_prefix=GEMMA3_TURN)


def _why_instruction_tuned(names: Sequence[str], folder: Path | None) -> str:
    """What shows that a Gemma 3 model is instruction-tuned; "" if nothing does."""
    configs = {} if folder is None else {f: _json(folder / f) for f in ("config.json", "generation_config.json")}
    called = (*names, str(configs.get("config.json", {}).get("_name_or_path", "")))
    if any(_PRETRAINED_NAME.search(name) for name in called):
        return ""
    for name in called:
        if _TUNED_NAME.search(name):
            return f"the name {name!r} is that of an instruction-tuned Gemma 3"
    for file, config in configs.items():
        stops = config.get("eos_token_id")
        if _END_OF_TURN in (stops if isinstance(stops, list) else [stops]):
            return f"{file} ends generation at <end_of_turn>, as instruction-tuned Gemma 3 does"
    return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}
