"""SAELens' folders: `cfg.json` with `sae_weights.safetensors`, one folder per layer, whatever the folders are called.

Source: github.com/decoderesearch/SAELens (transcoder configurations and weights as saved for inference). A BatchTopK
transcoder is saved there as `jumprelu_transcoder` with the threshold that training arrived at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.files import open_arrays, read_mapping, text_of
from tracescribe.tracer.transcoder_formats.layers import StoredTranscoders
from tracescribe.tracer.transcoder_formats.per_layer import ArrayNames, layer_of_names
from tracescribe.tracer.transcoder_formats.points import READS, WRITES, point
from tracescribe.tracer.transcoder_formats.sub_folders import FoundLayer, assemble

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"

_NAMES = ArrayNames("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "W_skip", is_encoder_transposed=True)
_ACTIVATIONS = {
    "transcoder": Activation("relu"),
    "skip_transcoder": Activation("relu"),
    "jumprelu_transcoder": Activation("jumprelu", rectified=True),
    "jumprelu_skip_transcoder": Activation("jumprelu", rectified=True),
}
_PLAIN = (None, "none", False)


def read_sae_lens(folders: Sequence[Path], faults: list[str]) -> StoredTranscoders:
    """The set in some layers' folders; faults are collected.

    Raises:
        TranscoderFormatError: a configuration cannot be read.
    """
    found = [layer for folder in folders if (layer := _read(folder, faults)) is not None]
    return assemble("SAELens", found, faults)


def _read(folder: Path, faults: list[str]) -> FoundLayer | None:
    config = read_mapping(folder / CONFIG, "json")
    where = f"{folder.name}/{WEIGHTS}"
    before = len(faults)
    told = config.get("metadata")
    notes: Mapping[str, Any] = told if isinstance(told, dict) else {}

    def said(key: str) -> Any:
        return config.get(key, notes.get(key))

    index, reads = point(said("hook_name"), READS, f"{folder.name}/{CONFIG}: hook_name", faults)
    target, writes = point(said("hook_name_out"), WRITES, f"{folder.name}/{CONFIG}: hook_name_out", faults)
    if len(faults) == before and target != index:
        faults.append(f"{folder.name}/{CONFIG}: reads layer {index} and writes layer {target}, expected one layer")
    activation = _activation(f"{folder.name}/{CONFIG}", config, faults)
    arrays = open_arrays(folder / WEIGHTS, where, faults)
    layer = layer_of_names(where, arrays, _NAMES, activation, faults) if arrays else None
    if layer is None or len(faults) > before:
        return None
    if ("skip" in str(config.get("architecture"))) is not (layer.skip is not None):
        stored = "no W_skip is" if layer.skip is None else "W_skip is"
        faults.append(f"{where}: architecture is {config.get('architecture')!r:.60}, but {stored} stored")
    files = {f"{folder.name}/{name}": folder / name for name in (CONFIG, WEIGHTS)}
    return FoundLayer(index, layer, reads, writes, text_of(said("model_name")), files)


def _activation(where: str, config: Mapping[str, Any], faults: list[str]) -> Activation:
    """The activation, if nothing else is done to inputs or outputs."""
    name = config.get("architecture")
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        faults.append(f"{where}: architecture is {name!r:.60}, expected one of {', '.join(_ACTIVATIONS)}")
    for key in ("normalize_activations", "reshape_activations", "apply_b_dec_to_input"):
        if config.get(key) not in _PLAIN:
            faults.append(f"{where}: {key} is {config[key]!r:.60}, which is not supported; fold it into the weights")
    if config.get("activation_fn", "relu") not in ("relu", "jumprelu"):
        faults.append(f"{where}: activation_fn is {config['activation_fn']!r:.60}, expected relu")
    return _ACTIVATIONS.get(str(name), Activation())
