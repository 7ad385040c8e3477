"""Predictions files: `{circuit_id: {"selected", "scores", "groups", "labels"}}`, as the scorer beside published gold reads it.

`selected` lists node ids; `scores` ranks them, more is more important; `groups` are `{"label", "members"}`; `labels` says
what single nodes stand for. Every part may be missing. A prediction that says nothing is an answer, and scores as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tracescribe.evals.prediction import PredictedSupernode, Prediction
from tracescribe.tracer.errors import GoldFormatError

PARTS = ("selected", "scores", "groups", "labels")
MAX_FAULTS_SHOWN = 5
"""Faults of one prediction that an error message spells out; the rest are counted."""


def predictions_as_json(predictions: Mapping[str, Prediction]) -> dict[str, object]:
    """Predictions by circuit id in the layout of a predictions file."""
    return {circuit_id: prediction.as_json() for circuit_id, prediction in sorted(predictions.items())}


def predictions_from_json(document: object) -> dict[str, Prediction]:
    """The predictions of a file that was parsed as JSON.

    Raises:
        GoldFormatError: the file is not of the layout; the faults of the first wrong prediction are told.
    """
    if not isinstance(document, dict):
        raise GoldFormatError(
            f"predictions file: expected an object of predictions by circuit id, found {_kind(document)}"
        )
    return {str(circuit_id): prediction_from_json(found, str(circuit_id)) for circuit_id, found in document.items()}


def prediction_from_json(document: object, circuit_id: str = "?") -> Prediction:
    """One prediction of a predictions file.

    Raises:
        GoldFormatError: what is wrong, all faults at once.
    """
    if not isinstance(document, dict):
        raise GoldFormatError(f"prediction of {circuit_id}: expected an object, found {_kind(document)}")
    faults = [
        f"{key!r} is no part of a prediction (they are {', '.join(PARTS)})" for key in document if key not in PARTS
    ]
    selected = _strings(document.get("selected"), "selected", faults)
    scores = _scores(document.get("scores"), faults)
    groups = _groups(document.get("groups"), faults)
    labels = _labels(document.get("labels"), faults)
    if faults:
        more = f" (and {len(faults) - MAX_FAULTS_SHOWN} more)" if len(faults) > MAX_FAULTS_SHOWN else ""
        told = "; ".join(faults[:MAX_FAULTS_SHOWN])
        raise GoldFormatError(f"prediction of {circuit_id}: {told}{more}; correct the predictions file")
    return Prediction(supernodes=groups, importance=scores, node_labels=labels, chosen=frozenset(selected))


def _strings(found: object, where: str, faults: list[str]) -> tuple[str, ...]:
    if found is None:
        return ()
    if not isinstance(found, list):
        faults.append(f"{where}: expected a list of node ids, found {_kind(found)}")
        return ()
    bad = [number for number, one in enumerate(found) if not isinstance(one, str)]
    faults += [f"{where}[{number}]: expected a node id, found {_kind(found[number])}" for number in bad]
    return tuple(one for one in found if isinstance(one, str))


def _scores(found: object, faults: list[str]) -> dict[str, float]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        faults.append(f"scores: expected an object of numbers by node id, found {_kind(found)}")
        return {}
    kept: dict[str, float] = {}
    for node, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            faults.append(f"scores[{node!r}]: expected a finite number, found {value!r:.40}")
        else:
            kept[str(node)] = float(value)
    return kept


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of JSON may be larger than any float
        return False


def _groups(found: object, faults: list[str]) -> tuple[PredictedSupernode, ...]:
    if found is None:
        return ()
    if not isinstance(found, list):
        faults.append(f"groups: expected a list, found {_kind(found)}")
        return ()
    kept = []
    for number, group in enumerate(found):
        where = f"groups[{number}]"
        if not isinstance(group, dict):
            faults.append(f"{where}: expected an object with label and members, found {_kind(group)}")
            continue
        label = group.get("label")
        if label is not None and not isinstance(label, str):
            faults.append(f"{where}.label: expected text, found {_kind(label)}")
            continue
        members = _strings(group.get("members"), f"{where}.members", faults)
        kept.append(PredictedSupernode(f"s{number + 1}", label or "", "other", tuple(dict.fromkeys(members))))
    return tuple(kept)


def _labels(found: object, faults: list[str]) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        faults.append(f"labels: expected an object of texts by node id, found {_kind(found)}")
        return {}
    faults += [
        f"labels[{node!r}]: expected text, found {_kind(text)}"
        for node, text in found.items()
        if text is not None and not isinstance(text, str)
    ]
    return {str(node): text for node, text in found.items() if isinstance(text, str)}


def _kind(found: object) -> str:
    return "null" if found is None else type(found).__name__
