"""Does a transcoder set belong to a model? What cannot work is an error; what merely looks odd is a warning to record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.tracer.architectures.base import READ_POINTS
from tracescribe.tracer.errors import TranscoderMismatchError

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


def check_fit(model: LanguageModel, transcoders: TranscoderSet) -> tuple[str, ...]:
    """Refuse a transcoder set that was made for another shape of model. Reads no weights.

    Returns:
        What is odd but works, one sentence each (`fit_warnings`), to be recorded with the results.

    Raises:
        TranscoderMismatchError: layers, width, hook points or devices differ (all differences at once).
    """
    compared = [
        ("layers", transcoders.n_layers, model.n_layers),
        ("d_model", transcoders.d_model, model.d_model),
    ]
    faults = [f"{name} {found}, expected {expected}" for name, found, expected in compared if found != expected]
    family, write_modules = model.architecture.family, model.architecture.blocks[0].write_modules
    if transcoders.reads not in READ_POINTS:
        faults.append(f"read point {transcoders.reads!r}, expected one of {', '.join(READ_POINTS)}")
    if transcoders.writes not in write_modules:
        faults.append(
            f"write point {transcoders.writes!r}, which {family} does not have (it has {', '.join(write_modules)})"
        )
    if transcoders.device != model.device:
        faults.append(f"device {transcoders.device}, expected {model.device}: load both on one")
    if faults:
        named = f" (made for {transcoders.model_name!r})" if transcoders.model_name else ""
        raise TranscoderMismatchError(
            f"transcoders {transcoders.transcoder_id!r}{named} do not fit model {model.model_id!r}: "
            f"{'; '.join(faults)}; choose the set that was trained on this model"
        )
    return fit_warnings(model, transcoders)


def fit_warnings(model: LanguageModel, transcoders: TranscoderSet) -> tuple[str, ...]:
    """What is odd about a set whose shapes fit: another model's name, or less precision than the model computes with.

    A local copy may have any name, so that another name alone proves nothing.
    """
    warnings: list[str] = []
    if transcoders.model_name and _bare(transcoders.model_name) != _bare(model.model_id):
        warnings.append(
            f"transcoders {transcoders.transcoder_id!r} were made for {transcoders.model_name!r}, the model is "
            f"{model.model_id!r}: shapes fit, measure the reconstruction"
        )
    if transcoders.dtype.itemsize < model.compute_dtype.itemsize:
        names = [str(dtype).removeprefix("torch.") for dtype in (transcoders.dtype, model.compute_dtype)]
        warnings.append(
            f"transcoders are held in {names[0]}, the model computes in {names[1]}: load both in {names[1]}"
        )
    return tuple(warnings)


def _bare(name: str) -> str:
    """A model's name without its organisation, in small letters."""
    return name.rstrip("/").rsplit("/", 1)[-1].lower()
