"""What is timed: the product's own calls, and the same acts of a reference implementation loaded from a file.

Like is compared with like: `trace` is the graph alone, as each side gives it; `trace and prune` adds scores and pruning.
The product's graph also carries biases, names and a check of every row's sum, which the reference does not make.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

TRACE = "trace"
PIPELINE = "trace and prune"
REFERENCE_TRACE = "reference trace"
REFERENCE_PIPELINE = "reference trace and prune"

_NEEDED = ("Transcoder", "attribute", "prune", "scores")


def load_prototype(path: Path) -> ModuleType:
    """Import a reference implementation. Its code is run: give only a file that you trust.

    Args:
        path: a Python file with `Transcoder(folder)`, `attribute(hf, tokens, transcoder, ...)`, `scores(graph)` and
            `prune(graph)`.

    Raises:
        InputError: no such file, or it lacks one of these.
    """
    if not path.is_file():
        raise InputError(f"no reference implementation at {path}; give the path of its Python file")
    name = f"tracescribe_reference_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; give the path of the reference's module")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # it may import files beside it
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's module may raise anything
        raise InputError(f"cannot import {path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    missing = [needed for needed in _NEEDED if not hasattr(module, needed)]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}; expected {', '.join(_NEEDED)}")
    return module


def tracer_calls(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    prototype: ModuleType | None = None,
    max_feature_nodes: int | None = None,
) -> dict[str, Callable[[], Any]]:
    """The calls to be timed on one prompt, by name.

    Args:
        model: the model.
        transcoders: a set that fits it.
        tokens: `[n_pos]`, taken as they are.
        prototype: a reference implementation, or None.
        max_feature_nodes: node budget; None for all.
    """
    from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens, trace_replacement
    from tracescribe.tracer.local_replacement import replace_locally
    from tracescribe.tracer.prune import PruneSettings, prune

    masked = model.zero_positions_of(tokens)
    settings = AttributionSettings(max_feature_nodes=max_feature_nodes, zero_positions=masked)

    def trace() -> Any:
        replacement = replace_locally(model, transcoders, tokens, masked)
        return trace_replacement(model, replacement, settings)

    def pipeline() -> Any:
        graph = attribute_tokens(model, transcoders, tokens, settings)
        return graph, prune(graph, PruneSettings())

    calls: dict[str, Callable[[], Any]] = {TRACE: trace, PIPELINE: pipeline}
    if prototype is None:
        return calls
    reference: Any = prototype
    reference_set = reference.Transcoder(str(transcoders.path))

    def reference_trace() -> Any:
        return reference.attribute(
            model.hf, tokens, reference_set, max_feature_nodes=max_feature_nodes, zero_positions=masked
        )

    def reference_pipeline() -> Any:
        graph = reference_trace()
        return graph, reference.scores(graph), reference.prune(graph)

    return calls | {REFERENCE_TRACE: reference_trace, REFERENCE_PIPELINE: reference_pipeline}
