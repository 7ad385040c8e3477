"""sparsify's folders: `{hookpoint}/cfg.json` with `sae.safetensors`, one per layer, such as `layers.5.mlp`.

The hookpoint is a module's path: what goes into that module is read, and what comes out of it is written. ReLU comes
before the k largest are taken.

Source: github.com/EleutherAI/sparsify (configuration and encoder of its sparse coder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.files import open_arrays, read_mapping
from tracescribe.tracer.transcoder_formats.layers import StoredTranscoders
from tracescribe.tracer.transcoder_formats.per_layer import ArrayNames, layer_of_names
from tracescribe.tracer.transcoder_formats.points import READS, WRITES, point
from tracescribe.tracer.transcoder_formats.sub_folders import FoundLayer, assemble

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"

_NAMES = ArrayNames("encoder.weight", "encoder.bias", "W_dec", "b_dec", skip="W_skip")
_ACTIVATIONS = {"topk": "topk", "groupmax": "groupmax"}


def read_sparsify(folders: Sequence[Path], faults: list[str]) -> StoredTranscoders:
    """The set in some hookpoints' folders; faults are collected.

    Raises:
        TranscoderFormatError: a configuration cannot be read.
    """
    found = [layer for folder in folders if (layer := _read(folder, faults)) is not None]
    return assemble("sparsify", found, faults)


def _read(folder: Path, faults: list[str]) -> FoundLayer | None:
    config = read_mapping(folder / CONFIG, "json")
    where = f"{folder.name}/{WEIGHTS}"
    before = len(faults)
    index, reads = point(folder.name, READS, folder.name, faults)
    _, writes = point(folder.name, WRITES, folder.name, faults) if len(faults) == before else (0, "")
    activation = _activation(folder.name, config, faults)
    arrays = open_arrays(folder / WEIGHTS, where, faults)
    layer = layer_of_names(where, arrays, _NAMES, activation, faults) if arrays else None
    if layer is None or len(faults) > before:
        return None
    if config.get("skip_connection", False) is not (layer.skip is not None):
        stored = "none is" if layer.skip is None else "one is"
        faults.append(f"{folder.name}: skip_connection is {config.get('skip_connection')!r:.40}, but {stored} stored")
    files = {f"{folder.name}/{name}": folder / name for name in (CONFIG, WEIGHTS)}
    return FoundLayer(index, layer, reads, writes, "", files)


def _activation(where: str, config: Mapping[str, Any], faults: list[str]) -> Activation:
    name, k = config.get("activation", "topk"), config.get("k")
    if not isinstance(name, str) or name not in _ACTIVATIONS or type(k) is not int:
        faults.append(
            f"{where}: activation {name!r:.40} with k {k!r:.40}, expected topk or groupmax with a whole number"
        )
        return Activation()
    # older configurations say nothing; a skip path is proof enough, since autoencoders have none
    if config.get("transcode", config.get("skip_connection", False)) is not True:
        faults.append(f"{where}: it is an autoencoder (transcode is {config.get('transcode')!r:.40}), not a transcoder")
    if config.get("signed", False):
        faults.append(f"{where}: signed activations are not supported")
    return Activation(cast(Any, name), k, rectified=True)
