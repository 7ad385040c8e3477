"""Compare this tracer with golden cases: traces and interventions that an independent implementation computed.

    python -m tracescribe.tracer.goldens FOLDER...

prints one line per case and exits with 0 if all passed, 1 if one failed, 3 if none failed but some are of a kind that
is not supported, and 2 if a folder does not exist or none holds a case.

A case is a folder with `case.json` (attribution settings, prune thresholds, interventions), `model/` (Hugging Face
format), `transcoder/` (circuit-tracer format) and `oracle.npz` (tokens and every reference array).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tracescribe.tracer.architectures import supported_families
from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.local_replacement import LocalReplacement, replace_locally
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.prune import PruneSettings, node_influence, prune_masks
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

_log = logging.getLogger(__name__)

Array = NDArray[Any]
Status = Literal["passed", "failed", "not supported"]

NUMBER_TOLERANCE = 1e-5
"""Allowed error of numbers, relative to the largest reference value: float32 sums in another order give 1e-6."""

INTERVENTION_TOLERANCE = 1e-4
"""Allowed error after interventions, which pass through softmax and nonlinearities several times."""

EDGE_MASK_TOLERANCE = 2
"""Edges that may differ: one may sit on the cut-off, and take another with it."""

_CASE_ERRORS = (TracescribeError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError)
"""What a broken case may raise; it must not keep the others from being checked."""

_TOLERANCE = {
    "edge_mask": EDGE_MASK_TOLERANCE,
    "alt_edge_mask": EDGE_MASK_TOLERANCE,
    "node_mask": 0,
    "alt_node_mask": 0,
}


@dataclass(frozen=True)
class CaseResult:
    """How one case went.

    Attributes:
        name: folder name.
        status: passed, failed, or of a kind that is not supported.
        reason: why it did not pass; "" if it did.
        errors: error of each compared quantity: relative to the largest reference value, or entries that differ.
        seconds: loading and computing.
    """

    name: str
    status: Status
    reason: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """The result on one line."""
        shown = " ".join(
            f"{key} {value:.1e}" if value % 1 else f"{key} {value:.0f}" for key, value in self.errors.items()
        )
        parts = [f"{self.name:26s} {self.status}", self.reason, shown, f"{self.seconds:.2f} s" if shown else ""]
        return " | ".join(part for part in parts if part)


def check_case(folder: Path) -> CaseResult:
    """Compute one case and compare it with its reference."""
    started = time.perf_counter()
    try:
        reason = _unsupported(folder)
        if reason:
            return CaseResult(folder.name, "not supported", reason)
        errors = _compare_case(folder)
    except _CASE_ERRORS as error:
        _log.debug("case %s", folder.name, exc_info=True)
        return CaseResult(folder.name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
    bad = [
        f"{key} {value:.1e} above {_tolerance(key):.0e}"
        for key, value in errors.items()
        if not value <= _tolerance(key)
    ]
    seconds = time.perf_counter() - started
    return CaseResult(folder.name, "failed" if bad else "passed", "; ".join(bad), errors, seconds)


def main(arguments: Sequence[str]) -> int:
    """Check every case below the given folders; see the module's docstring for the exit code."""
    folders = [Path(argument) for argument in arguments]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    cases = [path.parent for folder in folders for path in sorted(folder.rglob("case.json"))]
    if missing or not cases:
        fault = f"no such folder: {', '.join(missing)}" if missing else "no case.json below the given folders"
        print(f"goldens: {fault}; give folders that hold golden cases", file=sys.stderr)
        return 2
    results = []
    for case in cases:
        results.append(check_case(case))
        print(results[-1].line, flush=True)
    counts = {status: sum(r.status == status for r in results) for status in ("passed", "failed", "not supported")}
    print(", ".join(f"{n} {status}" for status, n in counts.items() if n))
    if counts["failed"]:
        return 1
    return 3 if counts["not supported"] else 0


def _tolerance(quantity: str) -> float:
    if quantity.startswith("iv_"):
        return INTERVENTION_TOLERANCE
    return _TOLERANCE.get(quantity, NUMBER_TOLERANCE)


def _unsupported(folder: Path) -> str:
    """Why a case's kind cannot be computed; "" if it can."""
    family = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))["model_type"]
    if family in supported_families():
        return ""
    return f"architecture {family!r} (supported: {', '.join(supported_families())})"


def _compare_case(folder: Path) -> dict[str, float]:
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with np.load(folder / "oracle.npz") as archive:  # plain arrays: numpy refuses pickled ones by default
        reference = {key: archive[key] for key in archive.files}
    model, transcoders = load_model(folder / "model"), load_transcoders(folder / "transcoder")
    tokens = torch.from_numpy(reference["tokens"]).to(torch.int64)
    settings = _settings(case["attribution"])
    replacement = replace_locally(model, transcoders, tokens, settings.zero_positions)
    graph = attribute_tokens(model, transcoders, tokens, settings)
    errors = _compare_graph(graph, replacement, reference)
    errors |= _compare_pruning(graph, reference, case)
    if case.get("interventions"):
        zero_positions = replacement.zero_positions
        errors |= _compare_interventions(model, transcoders, tokens, zero_positions, case["interventions"], reference)
    return errors


def _settings(given: Mapping[str, Any]) -> AttributionSettings:
    renamed = {"desired_logit_prob": "desired_logit_probability"}
    try:
        return AttributionSettings(**{renamed.get(key, key): value for key, value in given.items()})
    except TypeError as error:
        raise ValueError(f"case.json: attribution: {error}") from None


def _compare_graph(
    graph: AttributionGraph, replacement: LocalReplacement, reference: Mapping[str, Array]
) -> dict[str, float]:
    """Nodes and edges. Node sets must be equal; numbers may differ by rounding."""
    table = graph.nodes
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    selected = np.stack([table.layer[features], table.position[features], table.feature[features]], axis=1)
    _equal("active_features", replacement.active.numpy(), reference["active_features"])
    _equal("selected_features", selected, reference["active_features"][reference["selected_features"]])
    _equal("logit_tokens", table.feature[logits], reference["logit_tokens"])
    assert graph.scores is not None
    computed = {
        "adjacency": graph.dense(),
        "error_vectors": replacement.error_vectors.numpy(),
        "activation_values": replacement.activations.numpy(),
        "logit_probs": table.activation[logits],
        "node_influence": node_influence(graph),
        "scores": np.array([graph.scores.replacement, graph.scores.completeness]),
    }
    errors = {key: _relative(key, value, reference[key]) for key, value in computed.items()}
    # a rank decides which of two nearly tied nodes comes first: compare the values, not their places
    errors["cumulative_scores"] = _relative(
        "cumulative_scores", np.sort(table.influence), np.sort(reference["cumulative_scores"])
    )
    return errors


def _compare_pruning(
    graph: AttributionGraph, reference: Mapping[str, Array], case: Mapping[str, Any]
) -> dict[str, float]:
    """Masks at both pairs of thresholds, and edge scores at the first."""

    def dense(values: Array) -> Array:
        matrix = np.zeros((graph.n_nodes, graph.n_nodes), dtype=values.dtype)
        matrix[graph.edges.target, graph.edges.source] = values
        return matrix

    errors: dict[str, float] = {}
    for prefix, key in (("", "prune"), ("alt_", "prune_alt")):
        masks = prune_masks(graph, PruneSettings(**case[key]))
        errors[f"{prefix}node_mask"] = float((masks.nodes != reference[f"{prefix}node_mask"]).sum())
        errors[f"{prefix}edge_mask"] = float((dense(masks.edges) != reference[f"{prefix}edge_mask"]).sum())
        if not prefix:
            errors["edge_scores"] = _relative("edge_scores", dense(masks.edge_scores), reference["edge_scores"])
    return errors


def _compare_interventions(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: torch.Tensor,
    zero_positions: int,
    specifications: Sequence[Mapping[str, Any]],
    reference: Mapping[str, Array],
) -> dict[str, float]:
    """Worst error of logits and of activations over all interventions of a case."""
    from tracescribe.tracer.clean_run import clean_run
    from tracescribe.tracer.edits import FeatureEdit
    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.interventions import intervene

    clean = clean_run(model, transcoders, tokens)
    read = [FeatureNode(*(int(v) for v in row)) for row in reference["active_features"]]
    errors = {"iv_logits": 0.0, "iv_acts": 0.0}
    for spec in specifications:
        edits = [FeatureEdit(op["layer"], _position(op["pos"]), op["feature"], op["value"]) for op in spec["ops"]]
        # a slice that is empty in a short prompt edits nothing
        row = [edit for edit in edits if isinstance(edit.position, int) or range(len(tokens))[edit.position]]
        if not row:
            untouched = np.array([clean.activation(node, zero_positions) for node in read])
            errors["iv_logits"] = max(
                errors["iv_logits"],
                _relative("iv_logits", clean.logits.cpu().numpy(), reference[f"iv_logits/{spec['name']}"]),
            )
            errors["iv_acts"] = max(
                errors["iv_acts"], _relative("iv_acts", untouched, reference[f"iv_acts/{spec['name']}"])
            )
            continue
        result = intervene(
            model,
            transcoders,
            tokens,
            [row],
            _intervention_settings(spec, model.n_layers, zero_positions),
            read=read,
            last_only=False,
            clean=clean,
        )
        computed = {"iv_logits": result.logits[0].cpu().numpy(), "iv_acts": result.activations[0].cpu().numpy()}
        for key, value in computed.items():
            name = f"{key}/{spec['name']}"
            errors[key] = max(errors[key], _relative(name, value, reference[name]))
    return errors


def _intervention_settings(spec: Mapping[str, Any], n_layers: int, zero_positions: int) -> Any:
    from tracescribe.tracer.edits import InterventionSettings

    # an operation at a masked position is allowed there, and steers from 0
    common: dict[str, Any] = {"zero_positions": zero_positions, "allow_masked": True}
    layers = tuple(range(*spec["constrained"])) if spec["constrained"] else ()
    if not layers:  # an empty range is no constraint
        return InterventionSettings("open", freeze_attention=spec["freeze_attention"], **common)
    if set(layers) >= set(range(n_layers)):
        return InterventionSettings("direct", **common)
    return InterventionSettings("constrained", constrained_layers=layers, **common)


def _position(position: int | str) -> int | slice:
    """`"1:"` stands for every position from 1 on."""
    if isinstance(position, int):
        return position
    start, stop = (int(part) if part else None for part in position.split(":"))
    return slice(start, stop)


def _equal(name: str, found: Array, expected: Array) -> None:
    if found.shape != expected.shape:
        raise ValueError(f"{name}: shape {list(found.shape)}, expected {list(expected.shape)}")
    if not np.array_equal(found, expected):
        raise ValueError(f"{name}: {int((found != expected).sum())} of {expected.size} entries differ")


def _relative(name: str, found: Array, expected: Array) -> float:
    """Largest difference over the largest absolute reference value."""
    if found.shape != expected.shape:
        raise ValueError(f"{name}: shape {list(found.shape)}, expected {list(expected.shape)}")
    if not expected.size:
        return 0.0
    largest = float(np.abs(expected.astype(np.float64)).max())
    difference = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())
    return difference / largest if largest else difference


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
