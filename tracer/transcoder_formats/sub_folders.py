"""Sets that keep one folder per layer: which folders, in which order, and do they agree?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracescribe.tracer.transcoder_formats.layers import MAX_LAYERS, PER_LAYER, StoredLayer, StoredTranscoders


@dataclass(frozen=True, eq=False)
class FoundLayer:
    """One layer that a reader found, with what its own configuration says.

    Attributes:
        index: layer of the model.
        layer: its arrays.
        reads: read point.
        writes: write point.
        model_name: "" if it names none.
        files: used, by name inside the set.
    """

    index: int
    layer: StoredLayer
    reads: str
    writes: str
    model_name: str
    files: dict[str, Path]


def assemble(name: str, found: Iterable[FoundLayer], faults: list[str]) -> StoredTranscoders:
    """Per-layer transcoders in the order of their layers; what is missing, double or different is added to `faults`.

    Args:
        name: of the format.
        found: in any order.
        faults: what is wrong is added here.
    """
    ordered = sorted(found, key=lambda one: (one.index, one.layer.where))
    if not faults:
        faults.extend(_gaps([one.index for one in ordered], [one.layer.where for one in ordered]))
    for one in ordered:
        faults.extend(one.layer.faults(n_written=1))
    reads = _agreed("read points", [one.reads for one in ordered], faults)
    writes = _agreed("write points", [one.writes for one in ordered], faults)
    models = _agreed("models", [one.model_name for one in ordered], faults)
    files = {key: path for one in ordered for key, path in one.files.items()}
    return StoredTranscoders(name, PER_LAYER, reads, writes, models, tuple(one.layer for one in ordered), files)


def _gaps(indices: Sequence[int], where: Sequence[str]) -> list[str]:
    if not indices:
        return ["no layer was found"]
    double = sorted({n for n in indices if indices.count(n) > 1})
    faults = []
    for n in double[:3]:
        choices = ", ".join(place for index, place in zip(indices, where, strict=True) if index == n)
        faults.append(
            f"layer {n} has several transcoders ({choices:.300}); choose one of each layer by a pattern such as "
            "'FOLDER/layer_*_width_16k_l0_small'"
        )
    highest = min(max(indices), MAX_LAYERS)
    missing = [str(n) for n in range(highest) if n not in indices]
    if missing:
        faults.append(f"no transcoder for layers {', '.join(missing):.200}, though there is one for layer {highest}")
    return faults


def _agreed(what: str, values: Sequence[str], faults: list[str]) -> str:
    different = sorted(set(values))
    if len(different) > 1:
        faults.append(f"layers differ in their {what}: {', '.join(different):.200}")
    return different[0] if different else ""
