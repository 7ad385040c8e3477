"""Supernode lists and interventions in notebooks of circuit-tracer, read as data.

Source: the demos of circuit-tracer 0.4 (github.com/decoderesearch/circuit-tracer), which write
`Supernode(name=..., features=[Feature(layer=, pos=, feature_idx=), ...], children=[...])`, take features from a graph
page's address, and intervene with `Intervention(supernode, factor)` or lists of `(layer, position, feature, value)`.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracescribe.evals.gold.neuronpedia import saved_in_address
from tracescribe.evals.gold.notebook_values import UNKNOWN, Call, Reader
from tracescribe.evals.gold.recorded import RecordedEdit, RecordedIntervention
from tracescribe.evals.gold.saved import SavedCircuit, SavedGroup, merged
from tracescribe.tracer.errors import GoldFormatError

_log = logging.getLogger(__name__)

MAX_CELLS = 5000
_PARAMETERS = {
    "Feature": ("layer", "pos", "feature_idx"),
    "Supernode": ("name", "features", "children"),
    "Intervention": ("supernode", "scaling_factor"),
}
_FROM_ADDRESS = ("extract_supernode_features", "decode_url_features", "get_features_from_url")


@dataclass
class _Section:
    """What the notebook says of one prompt."""

    prompt: str
    groups: list[SavedGroup] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)
    addresses: list[SavedCircuit] = field(default_factory=list)
    interventions: list[RecordedIntervention] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.groups or self.pins or self.addresses or self.interventions)


def saved_in_notebook(document: Any, name: str) -> tuple[SavedCircuit, ...]:
    """The circuits of a notebook, one for each prompt that it assigns before it names supernodes.

    Args:
        document: the notebook's JSON.
        name: how circuits and error messages call it.

    Raises:
        GoldFormatError: it is no notebook, or names no supernode and no feature.
    """
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        raise GoldFormatError(f"{name}: no list of cells; expected a notebook (.ipynb)")
    if len(cells) > MAX_CELLS:
        raise GoldFormatError(f"{name}: {len(cells)} cells, at most {MAX_CELLS} are read")
    reader = Reader(_PARAMETERS, _known_call)
    sections = [_Section("")]
    for number, cell in enumerate(cells):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            _read_cell(cell, number, reader, sections)
    found = [_as_saved(section, name, number) for number, section in enumerate(_kept(sections), start=1)]
    if not found:
        raise GoldFormatError(f"{name}: no Supernode, no Feature and no address with pins in its code cells")
    return tuple(found)


def _kept(sections: list[_Section]) -> list[_Section]:
    return [section for section in sections if not section.empty]


def _read_cell(cell: Mapping[str, Any], number: int, reader: Reader, sections: list[_Section]) -> None:
    source = cell.get("source")
    text = "".join(line for line in source if isinstance(line, str)) if isinstance(source, list) else source
    if not isinstance(text, str):
        return
    # commands of the notebook's shell are no Python
    plain = "\n".join("pass" if line.lstrip()[:1] in ("%", "!") else line for line in text.split("\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        sections[-1].notes.append(f"cell {number} is no Python that can be read and was left out")
        return
    try:
        for statement in _plain_statements(tree.body):
            _read_statement(statement, number, reader, sections)
    except RecursionError:
        sections[-1].notes.append(f"cell {number} is nested too deeply and was left out")


def _plain_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements in order, those under conditions among them; loops and functions are not followed."""
    for statement in body:
        if isinstance(statement, ast.If | ast.With | ast.Try):
            yield from _plain_statements(statement.body)
            yield from _plain_statements(getattr(statement, "orelse", []))
        else:
            yield statement


def _read_statement(statement: ast.stmt, number: int, reader: Reader, sections: list[_Section]) -> None:
    first_call = len(reader.calls)
    value: Any = UNKNOWN
    name = ""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        value = reader.assign(statement)
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = target.id if isinstance(target, ast.Name) else ""
    elif isinstance(statement, ast.Expr):
        value = reader.value(statement.value)
    if isinstance(value, str):
        _read_text(name, value, sections)
    section = sections[-1]
    supernodes = {id(call) for call in reader.calls[first_call:] if call.name == "Supernode"}
    for call in reader.calls[first_call:]:
        if call.name == "Supernode":
            _read_supernode(call, section)
    edits = [_edit_of(call) for call in reader.calls[first_call:] if call.name == "Intervention"]
    if not supernodes and (features := _feature_ids(value)):
        section.groups.append(SavedGroup(name, tuple(features)))
    if not edits:
        edits = _value_edits(value)
    if edits:
        told = f"cell {number}" + (f" {name}" if name else "")
        section.interventions.append(
            RecordedIntervention(intervention_id=told, origin="notebook", prompt=section.prompt, edits=tuple(edits))
        )


def _read_text(name: str, value: str, sections: list[_Section]) -> None:
    """A prompt opens a section; an address of a graph page opens one too, as its graph may be another."""
    if value.startswith(("http://", "https://")) and "pinnedIds" in value:
        try:
            saved = saved_in_address(value)
        except GoldFormatError as error:
            sections[-1].notes.append(f"address in {name or 'a cell'}: {error}")
            return
        if sections[-1].addresses or sections[-1].groups:
            sections.append(_Section(""))
        sections[-1].addresses.append(saved)
    elif "prompt" in name.lower():
        if sections[-1].prompt:
            sections.append(_Section(""))
        sections[-1].prompt = value


def _read_supernode(call: Call, section: _Section) -> None:
    label = call.arguments.get("name")
    features = call.arguments.get("features")
    if not isinstance(label, str):
        section.notes.append("a supernode whose name is not written out was left out")
        return
    members = _feature_ids(features)
    if features is None:
        section.notes.append(f"supernode {label!r} has no features: it stands for an input or output")
    elif not members:
        section.notes.append(f"supernode {label!r}: its features are not written out and were left out")
    else:
        section.groups.append(SavedGroup(label, tuple(members)))
    for child in _as_list(call.arguments.get("children")):
        if isinstance(child, Call) and isinstance(child.arguments.get("name"), str):
            section.notes.append(f"drawn edge: {label} -> {child.arguments['name']}")


def _feature_ids(value: Any) -> list[str]:
    """Node ids of a list that holds features and nothing else."""
    items = _as_list(value)
    ids = [_feature_id(item) for item in items]
    return [one for one in ids if one] if items and all(ids) else []


def _feature_id(value: Any) -> str | None:
    """`Feature(layer, pos, feature_idx)`, a triple of that order, or an id that an address gave."""
    if isinstance(value, Call) and value.name == "Feature":
        parts = [value.arguments.get(key) for key in _PARAMETERS["Feature"]]
    elif isinstance(value, str):
        return value if value.count("_") == 2 else None
    elif isinstance(value, list | tuple) and len(value) == 3:
        parts = list(value)
    else:
        return None
    if not all(isinstance(part, int) and not isinstance(part, bool) and part >= 0 for part in parts):
        return None
    layer, position, feature = parts
    return f"{layer}_{feature}_{position}"


def _edit_of(call: Call) -> RecordedEdit:
    supernode = call.arguments.get("supernode")
    name = supernode.arguments.get("name") if isinstance(supernode, Call) else None
    members = _feature_ids(supernode.arguments.get("features")) if isinstance(supernode, Call) else []
    factor = call.arguments.get("scaling_factor")
    return RecordedEdit(
        supernode=name if isinstance(name, str) else "",
        features=tuple(members),
        action="zero" if factor == 0 else "scale",
        multiplier=float(factor) if isinstance(factor, int | float) else None,
    )


def _value_edits(value: Any) -> list[RecordedEdit]:
    """A list of `(layer, position, feature, value)`: features set to values."""
    edits = []
    for item in _as_list(value):
        if not isinstance(item, list | tuple) or len(item) != 4 or _feature_id(list(item[:3])) is None:
            return []
        known = isinstance(item[3], int | float)
        edits.append(
            RecordedEdit(
                features=(_feature_id(list(item[:3])) or "",),
                action="zero" if item[3] == 0 else "set",
                multiplier=float(item[3]) if known else None,
            )
        )
    return edits


def _known_call(name: str, arguments: list[Any]) -> Any:
    """The demos' helpers that turn a page's address into features by supernode; of an intervention, its list of edits."""
    if name == "feature_intervention" and len(arguments) > 1:
        return arguments[1]
    if name not in _FROM_ADDRESS or not arguments or not isinstance(arguments[0], str):
        return UNKNOWN
    try:
        saved = saved_in_address(arguments[0])
    except GoldFormatError as error:
        _log.warning("address in a notebook: %s", error)
        return UNKNOWN
    groups = {group.label: list(group.members) for group in saved.groups}
    return groups if name == _FROM_ADDRESS[0] else [groups, list(saved.pins)]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _as_saved(section: _Section, name: str, number: int) -> SavedCircuit:
    own = SavedCircuit(
        name=f"{name}-{number}",
        # a group that an address already gave, under the same name, is no second one
        groups=tuple(dict.fromkeys(section.groups)),
        pins=tuple(section.pins),
        prompt=section.prompt,
        interventions=tuple(section.interventions),
        notes=tuple(section.notes),
    )
    return merged((own, *section.addresses), own.name)
