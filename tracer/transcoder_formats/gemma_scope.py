"""Gemma Scope's folders, the first and the second release.

| release | kind | files |
|---|---|---|
| 1 | per layer | `layer_{l}/width_*/average_l0_*/params.npz` |
| 2 | per layer | `layer_{l}_width_*_l0_*/` with `config.json` and `params.safetensors` |
| 2 | cross-layer | `params_layer_{l}.safetensors` with `config.json` |

Release 2 names its hooks in `config.json`; release 1 has none, and reads and writes what its paper says. The array names
are those of `per_layer.py`; a cross-layer decoder is `[n_features, n_layers, d_model]`, of which layers below its own
are not used.

Source: huggingface.co/google/gemma-scope-2b-pt-transcoders, huggingface.co/google/gemma-scope-2-4b-it; Lieberum et al.
2024 (arXiv 2408.05147).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tracescribe.tracer.architectures.base import LN2_NORMALIZED, MLP_IN, MLP_OUT_RESID
from tracescribe.tracer.transcoder_formats.files import container_of, open_arrays, read_mapping, text_of
from tracescribe.tracer.transcoder_formats.layers import CROSS_LAYER, MAX_LAYERS, StoredLayer, StoredTranscoders
from tracescribe.tracer.transcoder_formats.per_layer import layer_of_arrays
from tracescribe.tracer.transcoder_formats.points import READS, WRITES, point
from tracescribe.tracer.transcoder_formats.sub_folders import FoundLayer, assemble

ARCHIVE, WEIGHTS, CONFIG = "params.npz", "params.safetensors", "config.json"
CROSS_LAYER_WEIGHTS = "params_layer_{}.safetensors"
_LAYER = re.compile(r"layer_(\d{1,4})(?:_|$)")


def read_scope_1(root: Path, archives: Sequence[Path], faults: list[str]) -> StoredTranscoders:
    """The set in some `params.npz`; faults are collected.

    Args:
        root: the folder that the user named.
        archives: one per layer; the layer is in the path.
        faults: what is wrong is added here.
    """
    found: list[FoundLayer] = []
    for path in archives:
        where = path.relative_to(root).as_posix()
        numbers = [match for part in path.parts if (match := _LAYER.match(part))]
        if not numbers:
            faults.append(f"{where}: no folder above it is called layer_N")
            continue
        layer = _layer(path, where, faults)
        if layer is not None:
            index = int(numbers[-1][1])
            found.append(FoundLayer(index, layer, LN2_NORMALIZED, MLP_OUT_RESID, "", {where: path}))
    return assemble("Gemma Scope 1", found, faults)


def read_scope_2(root: Path, folders: Sequence[Path], faults: list[str]) -> StoredTranscoders:
    """The per-layer set in some folders of the second release; faults are collected.

    Raises:
        TranscoderFormatError: a configuration cannot be read.
    """
    found: list[FoundLayer] = []
    for folder in folders:
        config = read_mapping(folder / CONFIG, "json")
        where = (folder / WEIGHTS).relative_to(root).as_posix()
        before = len(faults)
        index, reads = point(config.get("hf_hook_point_in"), READS, f"{where}: hf_hook_point_in", faults)
        target, writes = point(config.get("hf_hook_point_out"), WRITES, f"{where}: hf_hook_point_out", faults)
        if len(faults) == before and index != target:
            faults.append(f"{where}: reads layer {index} and writes layer {target}, expected one layer")
        layer = _layer(folder / WEIGHTS, where, faults)
        if layer is None or len(faults) > before:
            continue
        named = (folder / CONFIG).relative_to(root).as_posix()
        files = {where: folder / WEIGHTS, named: folder / CONFIG}
        found.append(FoundLayer(index, layer, reads, writes, text_of(config.get("model_name")), files))
    return assemble("Gemma Scope 2", found, faults)


def read_scope_2_cross_layer(root: Path, faults: list[str]) -> StoredTranscoders:
    """The cross-layer set in a folder of the second release; faults are collected.

    Raises:
        TranscoderFormatError: the configuration cannot be read.
    """
    config = read_mapping(root / CONFIG, "json") if (root / CONFIG).is_file() else {}
    names = [CROSS_LAYER_WEIGHTS.format(n) for n in range(MAX_LAYERS)]
    n_layers = next((n for n, name in enumerate(names) if not (root / name).is_file()), MAX_LAYERS)
    stray = sorted(
        path.name for path in root.glob(CROSS_LAYER_WEIGHTS.format("*")) if path.name not in names[:n_layers]
    )
    faults.extend(f"{name} follows no {names[n_layers]}" for name in stray[:3] if n_layers < MAX_LAYERS)
    layers: list[StoredLayer] = []
    for n, name in enumerate(names[:n_layers]):
        layer = _layer(root / name, name, faults)
        if layer is not None:
            layers.append(replace(layer, skipped_writes=n))
            faults.extend(layers[-1].faults(n_layers - n))
    files = {name: root / name for name in names[:n_layers]}
    if config:
        files[CONFIG] = root / CONFIG
    return StoredTranscoders(
        format="Gemma Scope 2",
        kind=CROSS_LAYER,
        reads=_named_point(config.get("hf_hook_point_in"), READS, MLP_IN, faults),
        writes=_named_point(config.get("hf_hook_point_out"), WRITES, MLP_OUT_RESID, faults),
        model_name=text_of(config.get("model_name")),
        layers=tuple(layers),
        files=files,
    )


def _named_point(name: object, known: Mapping[str, str], default: str, faults: list[str]) -> str:
    """The point of a hook name that may stand for all layers (`model.layers.{}.mlp.input`)."""
    if name is None:
        return default
    text = re.sub(r"\{[^}]*\}|\*", "0", name) if isinstance(name, str) else name
    return point(text, known, CONFIG, faults)[1]


def _layer(path: Path, where: str, faults: list[str]) -> StoredLayer | None:
    before = len(faults)
    arrays = open_arrays(path, where, faults)
    return layer_of_arrays(where, container_of(path), arrays, None, faults) if len(faults) == before else None
