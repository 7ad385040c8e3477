"""What the fake language model answers: computed from the data fences of the request, as a real one would have to.

It reads nothing but the request. It is neither clever nor told anything, so what the loop makes of its answers says
something about the loop.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from tests.agents.fake_server import Question, Reply, good

_FENCE = re.compile(r"<<<(DATA-[0-9a-f]{16}) ([a-z_]+)\n(.*?)\n\1>>>", re.DOTALL)
_SURE = 0.5
"""A word stands in the predicate if the feature fires on at least this share of its occurrences."""


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


def think(question: Question) -> Reply:
    """Answer a request by the template that it was made from."""
    data = data_of(question)
    if "triggers" in data:
        return good(label_answer(data))
    if "groups" in data:
        return good({"supernodes": [supernode_answer(group) for group in data["groups"]]})
    return good({"claims": claim_answers(data)})


def label_answer(data: dict[str, Any]) -> dict[str, Any]:
    """Name the word that the feature fires on most, or the token that it foretells if that is always the same."""
    words, following = data["triggers"], data["next_tokens"]
    if isinstance(words, str):
        place = data["profile"][0]["fires_at"].split(" @")[0]
        predicate: dict[str, Any] = {"on": "token", "words": [place]}
        return {"text": f"at {place}", "reads": "input", "predicate": predicate, "reason": "there is no corpus"}
    if following and following[0]["share_of_firings"] > 0.9 and len(words) > 1:
        said = following[0]["token"]
        predicate = {"on": "next", "words": [said]}
        return {"text": f"say {said}", "reads": "output", "predicate": predicate, "reason": "always the same word next"}
    sure = [word["token"] for word in words if word["fires_on_share_of_occurrences"] >= _SURE]
    predicate = {"on": "token", "words": sure or [words[0]["token"]]}
    return {"text": words[0]["token"], "reads": "input", "predicate": predicate, "reason": "the strongest word"}


def supernode_answer(group: dict[str, Any]) -> dict[str, Any]:
    """Every group as it is, under its members' most common label."""
    votes = Counter(member["label"] for member in group["members"] if member["label"])
    label = votes.most_common(1)[0][0] if votes else group["label"]
    return {"groups": [group["id"]], "label": label, "role": group["role"]}


def claim_answers(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A claim of every kind that the data allow, and one about a supernode that does not exist."""
    if data["verdicts"]:
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
