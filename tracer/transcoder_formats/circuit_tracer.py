"""circuit-tracer's folders: `config.yaml` beside the weights, or naming them.

| kind | files | arrays |
|---|---|---|
| cross_layer_transcoder | `W_enc_{l}.safetensors`, `W_dec_{l}.safetensors` | `W_enc_{l}`, `b_enc_{l}`, `b_dec_{l}`, `threshold_{l}`; `W_dec_{l}` |
| transcoder_set | `layer_{l}.safetensors` | see `per_layer.py` |
| either | what `transcoders` lists, by layer, with paths in the folder or `hf://` addresses | see `per_layer.py` |

Source: circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tracescribe.tracer.architectures.base import READ_POINTS, WRITE_POINTS
from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.files import container_of, open_arrays, read_mapping, text_of
from tracescribe.tracer.transcoder_formats.hub import HUB, hub_file
from tracescribe.tracer.transcoder_formats.layers import (
    CROSS_LAYER,
    MAX_LAYERS,
    PER_LAYER,
    StoredLayer,
    StoredTranscoders,
    TranscoderKind,
)
from tracescribe.tracer.transcoder_formats.per_layer import layer_of_arrays

CONFIG = "config.yaml"
_SUFFIXES = (".safetensors", ".pt")
_KNOWN_K = {"facebook/crv-8b-instruct-transcoders": 128}
"""By `scan`: published sets whose configuration does not say what circuit-tracer takes for them."""
_ACTIVATIONS = (None, "relu", "jumprelu", "topk", "batchtopk")


def read_circuit_tracer(folder: Path, faults: list[str]) -> StoredTranscoders:
    """The set in a folder with a `config.yaml`; faults are collected.

    Raises:
        TranscoderFormatError: the configuration cannot be read, or is of an unknown kind.
    """
    config = read_mapping(folder / CONFIG, "yaml")
    kind = config.get("model_kind")
    if kind not in (CROSS_LAYER, PER_LAYER):
        raise TranscoderFormatError(
            f"{folder / CONFIG}: model_kind is {kind!r:.80}, expected {CROSS_LAYER!r} or {PER_LAYER!r}"
        )
    files: dict[str, Path] = {CONFIG: folder / CONFIG}
    given = _given_activation(config, faults)
    if "transcoders" in config:
        found = _listed(folder, config, faults)
        layers = _layers_of_files(found, kind, given, files, faults)
    elif kind == CROSS_LAYER:
        layers = _cross_layers(folder, given, files, faults)
    else:
        layers = _beside(folder, given, files, faults)
    return StoredTranscoders(
        format="circuit-tracer",
        kind=kind,
        reads=_hook(config, "feature_input_hook", READ_POINTS, faults),
        writes=_hook(config, "feature_output_hook", WRITE_POINTS, faults),
        model_name=text_of(config.get("model_name")),
        layers=tuple(layers),
        files=files,
        scan=text_of(config.get("scan")),
    )


def _hook(config: Mapping[str, Any], key: str, known: tuple[str, ...], faults: list[str]) -> str:
    name = config.get(key)
    if name not in known:
        faults.append(f"{CONFIG}: {key} is {name!r:.80}, expected one of {', '.join(known)}")
    return str(name)


def _given_activation(config: Mapping[str, Any], faults: list[str]) -> Activation | None:
    """The activation that the configuration names; None where what is stored decides."""
    name, k = config.get("activation"), config.get("k")
    if name not in _ACTIVATIONS:
        known = ", ".join(str(known) for known in _ACTIVATIONS if known)
        faults.append(f"{CONFIG}: activation is {name!r:.80}, expected one of {known}, or none")
        return Activation()
    if k is not None and not (type(k) is int and 0 < k < 1 << 31):
        faults.append(f"{CONFIG}: k is {k!r:.80}, expected a positive integer")
        return Activation()
    if name is None:
        return Activation("topk", k) if k else None
    if name == "topk" and k is None:
        k = _KNOWN_K.get(str(config.get("scan")))
    if name in ("topk", "batchtopk"):
        return Activation(name, k or 0, rectified=name == "batchtopk")
    return Activation(cast(Any, name))


def _cross_layers(
    folder: Path, given: Activation | None, files: dict[str, Path], faults: list[str]
) -> list[StoredLayer]:
    n_layers = next((n for n in range(MAX_LAYERS) if not (folder / f"W_enc_{n}.safetensors").is_file()), MAX_LAYERS)
    if not n_layers:
        faults.append("no W_enc_0.safetensors")
    names = {f"W_enc_{n}.safetensors" for n in range(n_layers)}
    stray = sorted(path.name for path in folder.glob("W_enc_*.safetensors") if path.name not in names)
    faults.extend(f"{name} follows no W_enc_{n_layers}.safetensors" for name in stray)
    layers = [_cross_layer(folder, n, given, files, faults) for n in range(n_layers)]
    found = [(n, layer) for n, layer in enumerate(layers) if layer is not None]
    faults.extend(fault for n, layer in found for fault in layer.faults(n_layers - n))
    return [layer for _, layer in found]


def _cross_layer(
    folder: Path, n: int, given: Activation | None, files: dict[str, Path], faults: list[str]
) -> StoredLayer | None:
    encoder_file, decoder_file = f"W_enc_{n}.safetensors", f"W_dec_{n}.safetensors"
    before = len(faults)
    arrays = open_arrays(folder / encoder_file, encoder_file, faults)
    decoders = open_arrays(folder / decoder_file, decoder_file, faults)
    if len(faults) == before:
        wanted, optional = (f"W_enc_{n}", f"b_enc_{n}", f"b_dec_{n}"), f"threshold_{n}"
        faults.extend(f"{encoder_file}: no {key}" for key in wanted if key not in arrays)
        faults.extend(f"{encoder_file}: unknown array {key!r:.80}" for key in arrays.keys() - {*wanted, optional})
        if f"W_dec_{n}" not in decoders:
            faults.append(f"{decoder_file}: no W_dec_{n}")
    if len(faults) > before:
        return None
    files |= {encoder_file: folder / encoder_file, decoder_file: folder / decoder_file}
    threshold = arrays.get(f"threshold_{n}")
    return StoredLayer(
        where=encoder_file,
        encoder=arrays[f"W_enc_{n}"],
        encoder_bias=arrays[f"b_enc_{n}"],
        decoder=decoders[f"W_dec_{n}"],
        decoder_bias=arrays[f"b_dec_{n}"],
        threshold=threshold,
        activation=given or Activation("relu" if threshold is None else "jumprelu"),
    )


def _beside(folder: Path, given: Activation | None, files: dict[str, Path], faults: list[str]) -> list[StoredLayer]:
    """`layer_{l}.safetensors`, or `layer_{l}.pt`, beside the configuration."""
    suffix = ".pt" if (folder / "layer_0.pt").is_file() else ".safetensors"
    n_layers = next((n for n in range(MAX_LAYERS) if not (folder / f"layer_{n}{suffix}").is_file()), MAX_LAYERS)
    if not n_layers:
        faults.append("no layer_0.safetensors")
    names = [f"layer_{n}{suffix}" for n in range(n_layers)]
    stray = sorted(path.name for path in folder.glob("layer_*") if path.suffix in _SUFFIXES and path.name not in names)
    faults.extend(f"{name} follows no layer_{n_layers}{suffix}" for name in stray[:5])
    return _layers_of_files({name: folder / name for name in names}, PER_LAYER, given, files, faults)


def _listed(folder: Path, config: Mapping[str, Any], faults: list[str]) -> dict[str, Path]:
    """Files that `transcoders` lists, from the first layer to the last; none if there is a fault."""
    listed = config["transcoders"]
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        faults.append(f"{CONFIG}: transcoders is {type(listed).__name__}, expected a list of paths")
        return {}
    names = cast(list[str], listed)
    if len(names) > MAX_LAYERS or len(set(names)) < len(names):
        faults.append(f"{CONFIG}: transcoders lists {len(names)} files, {len(set(names))} different ones")
        return {}
    found: dict[str, Path] = {}
    for name in names:
        if name.startswith(HUB):
            found[name] = hub_file(name)
        elif is_inside(name):
            found[name] = folder / name
        else:
            faults.append(f"{CONFIG}: {name!r:.200} lies outside the folder; copy the file into it")
    return found if not faults else {}


def is_inside(name: str) -> bool:
    """Whether a relative path stays below the folder that it starts from (links are the user's own affair)."""
    parts = name.replace("\\", "/").split("/")
    return not name.startswith("/") and ".." not in parts and ":" not in parts[0] and "\0" not in name


def _layers_of_files(
    found: Mapping[str, Path],
    kind: TranscoderKind,
    given: Activation | None,
    files: dict[str, Path],
    faults: list[str],
) -> list[StoredLayer]:
    """One layer of each file. Cross-layer files (Gemma Scope 2) write to every layer, of which those below do not count."""
    layers: list[StoredLayer] = []
    for n, (name, path) in enumerate(found.items()):
        before = len(faults)
        arrays = open_arrays(path, name, faults)
        if len(faults) > before:
            continue
        layer = layer_of_arrays(name, container_of(path), arrays, given, faults)
        if layer is not None:
            layer = replace(layer, skipped_writes=n) if kind == CROSS_LAYER else layer
            layers.append(layer)
            faults.extend(layer.faults(len(found) - n if kind == CROSS_LAYER else 1))
            files[name] = path
    return layers
