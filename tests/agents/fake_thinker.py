"""What the fake language model answers: computed from the data fences of the request, as a real one would have to.

It reads nothing but the request. It is neither clever nor told anything, so what the loop makes of its answers says
something about the loop.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.agents.fake_server import Question, Reply, good

_FENCE = re.compile(r"<<<(DATA-[0-9a-f]{16}) ([a-z_]+)\n(.*?)\n\1>>>", re.DOTALL)
_STEP = re.compile(r"^Step: ([a-z]+)\.", re.MULTILINE)
_SURE = 0.5
"""A word stands in the predicate if the feature fires on at least this share of its occurrences."""
_ALWAYS = 0.9
"""A feature says a token if that is what follows at least so often."""


def fences(text: str) -> dict[str, str]:
    """Content of every data fence, by name."""
    return {name: content for _, name, content in _FENCE.findall(text)}


def outside_fences(text: str) -> str:
    """What is left of a message without its data."""
    return _FENCE.sub("", text)


def data_of(question: Question) -> dict[str, Any]:
    """Every fence of a request: JSON, or words where there is nothing to show."""
    return {
        name: json.loads(content) if content[:1] in "[{" else content for name, content in fences(question.user).items()
    }


_FENCE_OF_SCHEMA = {
    "transcript": "InvestigatorAnswer",
    "triggers": "FeatureLabelAnswer",
    "groups": "SupernodesAnswer",
    "circuit": "RevisionAnswer",
    "donors": "ClaimsAnswer",
    "contexts": "JudgementsAnswer",
    "features": "OneShotAnswer",
}
"""A fence that only requests for this schema hold, most telling first: not every wire format sends a schema's name."""


def schema_of(question: Question) -> str:
    """Name of the schema that a request asks for."""
    shown = fences(question.user)
    return question.schema_name or next(name for fence, name in _FENCE_OF_SCHEMA.items() if fence in shown)


def think(question: Question) -> Reply:
    """Answer a request by the schema that it asks for."""
    data = data_of(question)
    match schema_of(question):
        case "FeatureLabelAnswer":
            return good(label_answer(data))
        case "SupernodesAnswer":
            return good({"supernodes": [supernode_answer(group) for group in data["groups"]]})
        case "ClaimsAnswer":
            return good({"claims": claim_answers(data)})
        case "RevisionAnswer":
            return good({"supernodes": [], "claims": []})
        case "OneShotAnswer":
            return good(one_shot_answer(data))
        case "InvestigatorAnswer":
            return good(investigator_answer(question, data))
        case "JudgementsAnswer":
            return good(judge_answer(data))
        case unknown:
            raise AssertionError(f"the fake model does not know the schema {unknown!r}")


# -- labels ---------------------------------------------------------------------------------------------------------------


def label_answer(data: dict[str, Any]) -> dict[str, Any]:
    """Name the word that the feature fires on most, or the token that it foretells if that is always the same."""
    words, following = data["triggers"], data["next_tokens"]
    place = data["profile"][0]["fires_at"].split(" @")[0]
    here = f"at '{place}'"
    if isinstance(words, str) or not words:
        predicate: dict[str, Any] = {"on": "token", "words": [place]}
        return {"text": f"at {place}", "reads": "input", "here": here, "predicate": predicate, "reason": "no corpus"}
    if following and following[0]["share_of_firings"] > _ALWAYS and len(words) > 1:
        said = following[0]["token"]
        predicate = {"on": "next", "words": [said]}
        return {"text": f"say {said}", "reads": "output", "here": here, "predicate": predicate, "reason": "always next"}
    sure = [word["token"] for word in words if word["fires_on_share_of_occurrences"] >= _SURE]
    predicate = {"on": "token", "words": sure or [words[0]["token"]]}
    return {
        "text": words[0]["token"],
        "reads": "input",
        "here": here,
        "predicate": predicate,
        "reason": "strongest word",
    }


def row_label(row: dict[str, Any]) -> dict[str, Any]:
    """The same from one row of a table of features."""
    words, following = row.get("fires_on", []), row.get("next", [])
    label: dict[str, Any] = {"feature": row["id"].split("@")[0], "here": f"at '{row['at']}'"}
    if following and following[0]["share"] > _ALWAYS and len(words) > 1:
        said = following[0]["token"]
        return label | {"text": f"say {said}", "reads": "output", "predicate": {"on": "next", "words": [said]}}
    predicate = {"on": "token", "words": [words[0] if words else row["at"]]}
    return label | {"text": words[0] if words else f"at {row['at']}", "reads": "input", "predicate": predicate}


def row_labels(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One label for each feature of the rows."""
    return list({label["feature"]: label for label in map(row_label, rows)}.values())


# -- supernodes -----------------------------------------------------------------------------------------------------------


def supernode_answer(group: dict[str, Any]) -> dict[str, Any]:
    """Every group as it is, under its members' most common label."""
    votes = Counter(member["label"] for member in group["members"] if member["label"])
    label = votes.most_common(1)[0][0] if votes else group["label"]
    return {"groups": [group["id"]], "members": [], "label": label, "role": group["role"]}


def row_supernodes(rows: Iterable[dict[str, Any]], last: str) -> list[dict[str, Any]]:
    """Rows at one position with one label make a supernode; at the last position they say what they raise most."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        place = row["id"].split("@")[1]
        raised = (row.get("raises") or [""])[0]
        text = f"say {raised}" if place == last and raised else row_label(row)["text"]
        groups.setdefault((place, text), []).append(row)
    return [
        {
            "id": f"s{number}",
            "members": [row["id"] for row in group],
            "label": text[:60],
            "role": "output" if text.startswith("say ") and place == last else "intermediate",
        }
        for number, ((place, text), group) in enumerate(groups.items(), start=1)
    ]


# -- claims ---------------------------------------------------------------------------------------------------------------


def claim_answers(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A claim of every kind that the data allow, and one about a supernode that does not exist."""
    if data.get("verdicts"):
        return []
    ids = [supernode["id"] for supernode in data["supernodes"]]
    claims: list[dict[str, Any]] = [{"kind": "necessity", "supernode": i} for i in ids[:4]]
    claims += [{"kind": "swap", "donor": donor["id"]} for donor in data["donors"]]
    claims += [
        {"kind": "edge", "source": edge["source"], "destination": edge["destination"], "sign": 1}
        for edge in data["edges"][:2]
        if edge["effect"] > 0
    ]
    claims += [{"kind": "label", "feature": label["feature"]} for label in data["labels"][:2]]
    claims.append({"kind": "sufficiency", "supernodes": ids})
    claims.append({"kind": "necessity", "supernode": "s999"})
    return claims


def one_shot_answer(data: dict[str, Any]) -> dict[str, Any]:
    """Everything at once: labels and supernodes row by row, necessity of the first few, and all together sufficient."""
    rows = data["features"]
    supernodes = row_supernodes(rows, str(max(token["position"] for token in data["prompt"])))
    ids = [supernode["id"] for supernode in supernodes]
    labels = row_labels(rows)
    claims: list[dict[str, Any]] = [{"kind": "necessity", "supernode": i} for i in ids[:6]]
    claims.append({"kind": "sufficiency", "supernodes": ids})
    claims += [{"kind": "label", "feature": label["feature"]} for label in labels[:3]]
    return {"labels": labels, "supernodes": supernodes, "claims": claims}


# -- investigating --------------------------------------------------------------------------------------------------------


def investigator_answer(question: Question, data: dict[str, Any]) -> dict[str, Any]:
    """Look at the first page, label and group what stands on it, look for donors, claim, finish: one after another."""
    step = _STEP.search(outside_fences(question.user))
    assert step is not None
    turns = data["transcript"]
    actions = {"explore": _explore, "hypothesise": _hypothesise, "revise": _revise}[step.group(1)](data, turns)
    return {"note": f"turn {len(turns) + 1}", "actions": actions}


def _explore(data: dict[str, Any], turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not turns:
        return [{"tool": "list_features", "page": 1}]
    rows = turns[0]["did"][0]["result"]["features"] if len(turns) < 3 else []
    if len(turns) == 1:
        labels = [{"tool": "label", **label} for label in row_labels(rows)[:10]]
        return [{"tool": "look_at_feature", "feature": rows[0]["id"]}, *labels]
    if len(turns) == 2:
        groups = row_supernodes(rows, str(max(token["position"] for token in data["prompt"])))
        made = [{"tool": "make_supernode", **{k: g[k] for k in ("members", "label", "role")}} for g in groups]
        return [{"tool": "neighbours", "feature": rows[0]["id"]}, *made[:11]]
    return [{"tool": "finish", "reason": "labelled and grouped"}]


def _hypothesise(data: dict[str, Any], turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [supernode["id"] for supernode in data["notebook"]["supernodes"]]
    if not turns:
        return [{"tool": "find_donors", "supernode": i} for i in ids[:4]]
    if len(turns) == 1:
        claims: list[dict[str, Any]] = [{"kind": "necessity", "supernode": i} for i in ids[:4]]
        claims += [{"kind": "swap", "donor": donor["id"]} for donor in data["notebook"]["donors"]]
        claims += [{"kind": "label", "feature": label["feature"]} for label in data["notebook"]["labels"][:2]]
        claims.append({"kind": "sufficiency", "supernodes": ids})
        claims.append({"kind": "necessity", "supernode": "s999"})
        return [{"tool": "propose_claims", "claims": claims}]
    return [{"tool": "finish", "reason": "claimed"}]


def _revise(data: dict[str, Any], turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"tool": "finish", "reason": "the account stands"}]


# -- judging labels -------------------------------------------------------------------------------------------------------


def judge_answer(data: dict[str, Any]) -> dict[str, Any]:
    """Yes where a word of the label stands in the context; among the marked words, if any are marked."""
    words = set(data["label"]["label"].removeprefix("say ").split())
    fires = []
    for context in data["contexts"]:
        marked = re.findall(r"<<(.+?)>>", context["text"])
        fires.append(bool(words & set(marked or context["text"].split())))
    return {"fires": fires}
