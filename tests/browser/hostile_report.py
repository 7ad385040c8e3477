"""A report and its graph, true to their contracts, in which every text that a stranger may choose is hostile.

The texts are found by walking the document, not by a list of names: a field that is added to the report later is made
hostile too, or must be named below with the reason why it cannot be. Equal texts stay equal, so that what belongs together
still does; the log is written anew, as the program of a stranger would write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from tracescribe.agents.claims import claim_sha256
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.reporting.report_seal import sealed
from tracescribe.agents.testing.verdicts import judge

KEPT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "claim_id",
            "plan_id",
            "supernode_id",
            "supernode",
            "supernodes",
            "source",
            "destination",
            "node_id",
            "claims",
        ),
        "an id: what it names must be there",
    ),
    **dict.fromkeys(
        ("sha256", "previous", "chain", "claim_sha256", "graph_sha256", "subject", "event"), "held by the log's hashes"
    ),
    **dict.fromkeys(("metric", "name"), "must be as the rule has it"),
    "reason": "computed by the rule, or one of a closed set",
}
"""Names of text fields that cannot hold any text, and why."""
KEPT_IN_GRAPHS = frozenset(
    {"node_id", "feature_type", "layer", "jsNodeId", "source", "target", "linkType", "model_sha256", "transcoders_sha256",
     "dtype", "supernodes", "pinnedIds"}
)  # fmt: skip


def text_fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of all fields of a model, and of those in it, that hold free text: no closed set, no pattern."""
    seen: set[type[BaseModel]] = set()

    def walk(kind: Any) -> Iterator[type | None]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        elif kind is str:
            yield None
        elif get_origin(kind) is not Literal:
            for part in get_args(kind):
                yield from walk(part)

    def fields(kind: type[BaseModel]) -> Iterator[str]:
        if kind in seen:
            return
        seen.add(kind)
        for name, field in kind.model_fields.items():
            for found in walk(field.annotation):
                if found is None:
                    if not any(getattr(rule, "pattern", None) for rule in field.metadata):
                        yield f"{kind.__name__}.{name}"
                elif issubclass(found, BaseModel):
                    yield from fields(found)

    yield from fields(model)


def hostile_fields_of(report: CircuitReport) -> set[str]:
    """Names of the text fields of a report that hold a hostile text."""
    found: dict[str, bool] = {}

    def look(value: Any, name: str) -> None:
        if isinstance(value, BaseModel):
            for field in type(value).model_fields:
                look(getattr(value, field), f"{type(value).__name__}.{field}")
        elif isinstance(value, Mapping):
            for key, child in value.items():
                look(child, name)
                look(key, name)
        elif isinstance(value, tuple | list):
            for child in value:
                look(child, name)
        elif isinstance(value, str) and value:
            found[name] = found.get(name, False) or " ~" in value

    look(report, "")
    return {name for name, hostile in found.items() if hostile}


class Swap:
    """Replaces texts by hostile ones: equal texts by equal ones, different ones by different ones."""

    def __init__(self, payloads: Sequence[str]) -> None:
        self._payloads = payloads
        self._said: dict[str, str] = {}
        self.keep: Mapping[str, frozenset[object]] = {}
        """Values that stay as they are, by the name of their field: those of closed sets."""

    def __call__(self, text: str) -> str:
        """The hostile text that stands for a text."""
        if text not in self._said:
            place = len(self._said)
            self._said[text] = f"{self._payloads[place % len(self._payloads)]} ~{place}"
        return self._said[text]

    def everywhere(self, value: Any, kept: Mapping[str, str] | frozenset[str], name: str = "") -> Any:
        """A JSON value with every text replaced whose field is not kept."""
        if isinstance(value, dict):
            return {key: self.everywhere(child, kept, key) for key, child in value.items()}
        if isinstance(value, list):
            return [self.everywhere(child, kept, name) for child in value]
        if not isinstance(value, str) or not value or name in kept or value in self.keep.get(name, ()):
            return value
        return self(value)


def hostile_graph(document: dict[str, Any], swap: Swap) -> dict[str, Any]:
    """A graph document whose tokens, labels, notes and names are hostile, with labelled groups as people save them."""
    graph: dict[str, Any] = swap.everywhere(document, KEPT_IN_GRAPHS)
    features = [node["node_id"] for node in graph["nodes"] if node["feature_type"] == "cross layer transcoder"]
    for number, node in enumerate(graph["nodes"]):
        node["clerp"] = swap(node["clerp"] or f"label {number}")
    graph["qParams"] |= {
        "pinnedIds": features,
        "supernodes": [[swap("a group"), *features]],
        "clerps": [[node, swap(f"note {node}")] for node in features],
        swap("a parameter"): swap("its value"),
    }
    graph["metadata"] |= {
        swap("a field"): swap("its content"),
        "info": {"description": swap("a graph"), "creator_name": swap("me")},
    }
    return graph


def hostile_report(honest: CircuitReport, swap: Swap, graph_sha256: str, *, weights: bool = False) -> CircuitReport:
    """The report of the same circuit with hostile texts, in every field that may hold one.

    Args:
        weights: whether it names the weights and the evidence that it was made with, so that a server shows the latter.

    Raises:
        ReportError: it breaks the contract; then a field must be named in `KEPT`.
    """
    document = honest.model_dump(mode="json")
    _fill(document)
    swap.keep = _closed_sets(CircuitReport)
    changed: dict[str, Any] = swap.everywhere(document, KEPT)
    changed["provenance"] |= {"graph_sha256": graph_sha256}
    if weights:
        made = honest.provenance.model_dump(mode="json")
        changed["provenance"] |= {name: made[name] for name in ("model_sha256", "transcoder_sha256", "evidence_sha256")}
    for part in ("agent_settings", "prompt_versions"):
        changed["provenance"][part][swap("a setting")] = swap("its value")
    changed["cost"]["seconds_by_step"] = {swap("trace"): 1.5}
    for claim, plan in _pairs(changed["claims"], changed["plans"]):
        plan["hypothesis"] = claim["statement"]
        plan["intervention"][swap("an edit")] = [swap("of what"), {swap("key"): swap("value")}]
    changed["summary"] = [
        {"text": f"'{claim['statement']}'", "claims": [claim["claim_id"]], "numbers": [], "aside": False}
        for claim in changed["claims"]
    ]
    return _registered(changed, honest)


def _fill(document: dict[str, Any]) -> None:
    """Give every list and every text that may be empty something to hold."""
    document["cut_short"] = "out of budget"
    document["failures"] = [{"step": "label", "error": "no answer"}]
    document["unexplained"]["notes"] += ["a note"]
    for label in document["labels"]:
        label |= {"here": "what it is here", "earlier": ["a first label", "a second label"]}
    for measurement in document["measurements"]:
        measurement["details"]["top_token_after"] = "a token"
    if document["circuit"] is not None:
        document["circuit"]["matched_on"] = ["layer", "size"]
    failed = document["measurements"][-1]
    failed |= {
        "effect": None,
        "control_effects": [],
        "interval": None,
        "failure": "a fault",
        "details": {},
        "changes": [],
    }
    failed |= {"doses": [], "paraphrases": [], "paraphrase_interval": None}
    document["stopped"] |= {"reason": "budget", "detail": "out of budget"}
    for plan, measurement in zip(document["plans"], document["measurements"], strict=True):
        if plan["metric"] == "log_probability_drop":
            plan["paraphrases"] = ["another wording"]
            measurement["paraphrases"] = [{"prompt": "another wording", "effect": None, "why": "no such features"}]
            measurement["paraphrase_interval"] = None


def _pairs(
    claims: list[dict[str, Any]], plans: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    by_id = {claim["claim_id"]: claim for claim in claims}
    for plan in plans:
        yield by_id[plan["claim_id"]], plan


def _registered(document: dict[str, Any], honest: CircuitReport) -> CircuitReport:
    """The report with verdicts and a log that fit what it holds now."""
    first = CircuitReport.model_validate_json(json.dumps(document))
    claims = {claim.claim_id: claim for claim in first.claims}
    plans = tuple(plan.model_copy(update={"claim_sha256": claim_sha256(claims[plan.claim_id])}) for plan in first.plans)
    plan_of = {plan.claim_id: plan for plan in plans}
    measured = {measurement.plan_id: measurement for measurement in first.measurements}
    supernodes = {supernode.supernode_id: supernode for supernode in first.supernodes}
    registry = ClaimRegistry()
    for entry in honest.registry:
        match entry.event:
            case "defined":
                registry.define(supernodes[entry.subject])
            case "registered":
                registry.register(claims[entry.subject])
            case "planned":
                registry.plan(plan_of[entry.subject])
            case "measured":
                plan = plan_of[entry.subject]
                registry.measure(plan, measured[plan.plan_id])
            case "reported":
                pass
    verdicts = judge(first.claims, plans, first.measurements, {})
    whole = sealed(first.model_copy(update={"plans": plans, "verdicts": verdicts, "registry": ()}), registry)
    validate_report(whole)
    return whole


def _closed_sets(model: type[BaseModel]) -> dict[str, frozenset[object]]:
    """Values of the fields that take one of a closed set, by name, wherever they stand in the model."""
    found: dict[str, frozenset[object]] = {}
    seen: set[type[BaseModel]] = set()

    def look(kind: Any, name: str) -> None:
        if get_origin(kind) is Literal:
            found[name] = found.get(name, frozenset()) | frozenset(get_args(kind))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in seen:
                seen.add(kind)
                for field_name, field in kind.model_fields.items():
                    look(field.annotation, field_name)
        else:
            for part in get_args(kind):
                look(part, name)

    look(model, "")
    return found


def write_hostile_folder(
    honest_folder: Path, folder: Path, payloads: Sequence[str], *, weights: bool = False
) -> tuple[Path, CircuitReport]:
    """A folder with a hostile report and its graph, made of an honest one.

    Returns:
        The folder, and the report.
    """
    from tracescribe.agents.report import parse_report
    from tracescribe.agents.reporting.assembly import graph_sha256
    from tracescribe.tracer.graph_json import read_graph

    swap = Swap(payloads)
    folder.mkdir(parents=True)
    graph = hostile_graph(json.loads((honest_folder / "graph.json").read_text(encoding="utf-8")), swap)
    (folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    sha256 = graph_sha256(read_graph(folder / "graph.json"))
    honest = parse_report((honest_folder / "report.json").read_text(encoding="utf-8"))
    report = hostile_report(honest, swap, sha256, weights=weights)
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return folder, report
