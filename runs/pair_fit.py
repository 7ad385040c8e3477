"""Whether a transcoder set fits a model: told from configurations before weights are read, then in full."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.tracer.errors import TranscoderMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracescribe.runs.loading import Pair
    from tracescribe.tracer.transcoders import TranscoderSet

ROWS_AT_ONCE = 4096
"""Decoder rows that a full check holds at once."""

_LAYERS = ("num_hidden_layers", "n_layer")
_WIDTH = ("hidden_size", "n_embd")


@dataclass(frozen=True)
class PairFit:
    """A model and a set that fit.

    Attributes:
        family: `model_type` of the model.
        n_parameters: of the model.
        model_sha256: hash of its configuration and weights.
        format: layout of the set on disk.
        kind: `cross_layer_transcoder` or `transcoder_set`.
        reads, writes: hook points.
        n_layers, d_model: of both.
        n_features: by layer.
        skips: layers with a skip path.
        made_for: the model that the set names; "" if none.
        transcoders_sha256: hash of the set's files.
        checked: how far numbers were looked at for being finite.
        remarks: what is not wrong, but worth knowing.
    """

    family: str
    n_parameters: int
    model_sha256: str
    format: str
    kind: str
    reads: str
    writes: str
    n_layers: int
    d_model: int
    n_features: tuple[int, ...]
    skips: tuple[int, ...]
    made_for: str
    transcoders_sha256: str
    checked: str
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def refuse_by_configuration(model_dir: Path, transcoders: TranscoderSet, model_id: str) -> None:
    """Refuse a set whose layers or width differ from the model's configuration, before any weight is read.

    A configuration that does not say is passed over here; the full check follows when the weights are there.

    Raises:
        TranscoderMismatchError: layers or width differ (both are named).
    """
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # opening the model tells this better
    config = config.get("text_config", config) if isinstance(config, dict) else {}
    faults: list[str] = []
    for name, keys, found in (("layers", _LAYERS, transcoders.n_layers), ("d_model", _WIDTH, transcoders.d_model)):
        expected = next((config[key] for key in keys if isinstance(config.get(key), int)), found)
        if found != expected:
            faults.append(f"{name} {found}, expected {expected}")
    if faults:
        named = f" (made for {transcoders.model_name!r})" if transcoders.model_name else ""
        raise TranscoderMismatchError(
            f"transcoders {transcoders.transcoder_id!r}{named} do not fit model {model_id!r}: {'; '.join(faults)}; "
            "choose the set that was trained on this model"
        )


def describe_fit(pair: Pair, *, deep: bool, progress: Callable[[str, int, int, str], None] | None = None) -> PairFit:
    """Say what fits, reading every encoder, and with `deep` every decoder row too.

    Args:
        pair: a pair that was loaded, and so fits by shape.
        deep: read all decoders: minutes for a large set.
        progress: called after each layer, or after some rows of it.

    Raises:
        TranscoderFormatError: a number is not finite.
    """
    import torch

    model, transcoders = pair.model, pair.transcoders
    for layer in range(transcoders.n_layers):
        transcoders.encoder_bias(layer)  # reads the layer's encoder, and checks it
        if deep:
            width = transcoders.n_features[layer]
            for rows in torch.split(torch.arange(width), ROWS_AT_ONCE):
                transcoders.decoder_rows(layer, rows)
        if progress is not None:
            progress("weights", layer + 1, transcoders.n_layers, "")
    remarks: list[str] = []
    made_for = transcoders.model_name
    if made_for and made_for.rpartition("/")[2].casefold() != model.model_id.rpartition("/")[2].casefold():
        remarks.append(f"the set says that it was made for {made_for!r}; the model at hand is {model.model_id!r}")
    if not deep and not transcoders.keeps_decoders:
        remarks.append("decoders were not read through: --deep does that; each row is checked when a trace reads it")
    layers = range(transcoders.n_layers)
    return PairFit(
        family=model.architecture.family,
        n_parameters=sum(parameter.numel() for parameter in model.hf.parameters()),
        model_sha256=model.weights_sha256,
        format=transcoders.format,
        kind=transcoders.kind,
        reads=transcoders.reads,
        writes=transcoders.writes,
        n_layers=transcoders.n_layers,
        d_model=transcoders.d_model,
        n_features=transcoders.n_features,
        skips=tuple(layer for layer in layers if transcoders.skip_weight(layer) is not None),
        made_for=made_for,
        transcoders_sha256=transcoders.sha256,
        checked="encoders and decoders" if deep or transcoders.keeps_decoders else "encoders",
        remarks=tuple(remarks),
    )
