"""A model that is always sure, and always wrong as far as it can tell: labels from elsewhere, groups thrown together,
claims of every kind about everything, each the opposite of what the data suggest.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tracescribe.evals.scripted.client import Question
from tracescribe.tracer.provenance import sha256_json

READING = ("input", "intermediate", "relation", "other")
SAYING = ("output", "suppressor")
FIRST_ROUND, LATER_ROUNDS = 20, 8
"""Claims that a round takes."""
NONSENSE = ("banana", "entropy", "the moon", "justice", "Tuesday")
"""Names of supernodes; sure of themselves, and about nothing."""


@dataclass(frozen=True)
class Adversary:
    """A `Mind` that claims success with confident nonsense.

    Attributes:
        seed: of its choices; the same question then gets the same answer.
    """

    seed: int = 0

    def answer(self, question: Question) -> dict[str, Any]:
        """By the schema that is asked for."""
        rng = random.Random(f"{self.seed} {question.schema} {sha256_json(question.data)}")
        match question.schema:
            case "FeatureLabelAnswer":
                return self._label(question.data, rng)
            case "SupernodesAnswer":
                return {"supernodes": self._supernodes(question.data["groups"], rng)}
            case "ClaimsAnswer":
                return {"claims": self._claims(question.data, rng)[:FIRST_ROUND]}
            case "RevisionAnswer":
                return self._revision(question.data, rng)
            case "JudgementsAnswer":
                return {"fires": [True] * question.n_booleans}
            case _:
                return {}

    def _label(self, data: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        """A label by words that stand in the contexts where the feature is silent."""
        silent = sorted(
            {
                word
                for context in _items(data.get("contexts"))
                for word in str(context.get("text", "")).split()
                if not word.endswith(")") and len(word) < 40
            }
        )
        fires = {str(row.get("token")) for row in _items(data.get("triggers"))}
        wrong = [word for word in silent if word not in fires] or silent or ["the"]
        word = rng.choice(wrong)
        return {
            "text": f"certainly {word}"[:60],
            "reads": rng.choice(["input", "output"]),
            "predicate": {"on": rng.choice(["token", "previous", "next"]), "words": [word]},
            "reason": "It is obvious, and every test will confirm it.",
        }

    def _supernodes(self, groups: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
        """Groups thrown together in random pairs, called anything, given any role of their kind."""
        found: list[dict[str, Any]] = []
        for roles in (READING, SAYING):
            mine = [group["id"] for group in groups if (group.get("role") in SAYING) == (roles == SAYING)]
            rng.shuffle(mine)
            for start in range(0, len(mine), 2):
                name = rng.choice(NONSENSE)
                found.append({"groups": mine[start : start + 2], "label": name, "role": rng.choice(roles)})
        return found

    def _claims(self, data: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
        """Every kind, about everything that is listed, most of it the wrong way round."""
        ids = [supernode["id"] for supernode in _items(data.get("supernodes"))]
        outputs = [row["token"] for row in _items(data.get("outputs"))]
        answer, others = outputs[0], outputs[1:]
        claims: list[dict[str, Any]] = []
        for name in ids:
            claims.append({"kind": "necessity", "supernode": name})
            claims.append(_steering(name, rng.choice([0.0, -2.0]), answer, "up"))
            claims.append(_steering(name, rng.choice([1.5, 2.0, 3.0]), answer, "down"))
            if others:
                claims.append(_steering(name, 2.0, rng.choice(others), "up"))
            claims.append({"kind": "sufficiency", "supernodes": [name]})
        for edge in _items(data.get("edges")):
            sign = -1 if float(edge.get("effect", 0.0)) > 0 else 1
            claims.append({"kind": "edge", "source": edge["source"], "destination": edge["destination"], "sign": sign})
            claims.append({"kind": "edge", "source": edge["destination"], "destination": edge["source"], "sign": 1})
        claims += [{"kind": "swap", "donor": donor["id"]} for donor in _items(data.get("donors"))]
        claims += [{"kind": "label", "feature": label["feature"]} for label in _items(data.get("labels"))[:4]]
        rng.shuffle(claims)
        return claims

    def _revision(self, data: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        """More of the same, and a new supernode of whatever is left, which surely explains everything."""
        free = [str(row["feature"]) for row in _items(data.get("features")) if "feature" in row]
        made = (
            [{"id": "n1", "members": [rng.choice(free)], "label": rng.choice(NONSENSE), "role": "other"}]
            if free
            else []
        )
        claims = [{"kind": "necessity", "supernode": "n1"}] if made else []
        return {"supernodes": made, "claims": (claims + self._claims(data, rng))[:LATER_ROUNDS]}


def _steering(name: str, multiplier: float, token: str, direction: str) -> dict[str, Any]:
    return {
        "kind": "steering",
        "supernode": name,
        "multiplier": multiplier,
        "expected_token": token,
        "direction": direction,
    }


def _items(value: Any) -> list[dict[str, Any]]:
    """A fence's list; nothing where it holds words instead."""
    return value if isinstance(value, list) else []
