"""Hook names of other tools, in the names that this product uses: which layer, and where in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracescribe.tracer.architectures.base import LN2_NORMALIZED, MLP_IN, MLP_OUT, MLP_OUT_RESID, RESID_MID

_PLACE = re.compile(r"(?:^|\.)(?:blocks|layers|h)\.(\d{1,4})\.(.+)$")

READS: Mapping[str, str] = {
    RESID_MID: RESID_MID,
    "hook_mlp_in": RESID_MID,
    "pre_feedforward_layernorm.input": RESID_MID,
    LN2_NORMALIZED: LN2_NORMALIZED,
    MLP_IN: MLP_IN,
    "mlp": MLP_IN,
    "mlp.input": MLP_IN,
    "pre_feedforward_layernorm.output": MLP_IN,
}
"""Read points by what follows the layer's number in TransformerLens hooks and Hugging Face module paths."""

WRITES: Mapping[str, str] = {
    MLP_OUT_RESID: MLP_OUT_RESID,
    "post_feedforward_layernorm.output": MLP_OUT_RESID,
    MLP_OUT: MLP_OUT,
    "mlp": MLP_OUT,
    "mlp.output": MLP_OUT,
}
"""Write points, likewise."""


def place(name: object) -> tuple[int, str] | None:
    """Layer and what follows it, of a name such as `blocks.3.hook_mlp_out` or `model.layers.3.mlp`; None if neither."""
    found = _PLACE.search(name) if isinstance(name, str) and len(name) < 400 else None
    return None if found is None else (int(found[1]), found[2])


def point(name: object, known: Mapping[str, str], where: str, faults: list[str]) -> tuple[int, str]:
    """Layer and point of a hook name; an unknown one is added to `faults`."""
    found = place(name)
    if found is None or found[1] not in known:
        faults.append(f"{where}: hook {name!r:.120}, expected a layer's {', '.join(known)}")
        return (-1, "")
    return found[0], known[found[1]]
