"""Gold sets from JSON text and files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from tracescribe.evals.gold.checks import circuit_faults, raise_if, repeated
from tracescribe.evals.gold.schema import GOLD_SCHEMA, GoldCircuit, GoldSet
from tracescribe.tracer.errors import GoldFormatError

MAX_GOLD_BYTES = 64 << 20
"""Larger files are refused before they are parsed; the largest set that ships is a hundred times smaller."""


def _path_of(location: Iterable[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "document"


def parse_gold(text: str, name: str = "gold", *, checked: bool = True) -> GoldSet:
    """Read a gold set, or a single circuit as a set of one, from JSON text.

    Args:
        text: the document.
        name: how error messages call it.
        checked: whether faults that types cannot express are refused too.

    Raises:
        GoldFormatError: the text is no gold; the message names the place inside the document.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise GoldFormatError(f"{name}: not JSON ({error}); give a {GOLD_SCHEMA} document") from error
    single = isinstance(document, dict) and document.get("schema_id") == GOLD_SCHEMA
    try:
        if single:
            circuit = GoldCircuit.model_validate_json(text)
            gold = GoldSet(name=circuit.gold_id, circuits=(circuit,))
        else:
            gold = GoldSet.model_validate_json(text)
    except ValidationError as error:
        faults = [f"{_path_of(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)]
        raise_if(faults, f"{name}: not a gold circuit", f"give a {GOLD_SCHEMA} document")
        raise  # unreachable: a validation error has at least one fault
    if not checked:
        return gold
    faults = [f"circuits: id {i} is used twice" for i in repeated(c.gold_id for c in gold.circuits)]
    for number, circuit in enumerate(gold.circuits):
        faults += [f"circuits[{number}].{fault}" for fault in circuit_faults(circuit)]
    raise_if(faults, name, "correct the file")
    return gold


def read_gold(path: Path) -> GoldSet:
    """Read a gold file.

    Raises:
        GoldFormatError: no such file, a file of more than `MAX_GOLD_BYTES`, or one that is no gold.
    """
    try:
        size = path.stat().st_size
        if size > MAX_GOLD_BYTES:
            raise GoldFormatError(f"{path}: {size} bytes, the limit is {MAX_GOLD_BYTES}; split the set")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GoldFormatError(f"cannot read gold {path}: {reason}; give a {GOLD_SCHEMA} JSON file") from error
    return parse_gold(text, str(path))
