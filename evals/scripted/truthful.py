"""A model that knows the truth of one prompt, from the oracle gold, and says nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tracescribe.agents.claims import Predicate
from tracescribe.evals.gold import GoldSupernode
from tracescribe.evals.judging.concepts import ConceptWords
from tracescribe.evals.judging.corpus_truth import CorpusTruth
from tracescribe.evals.judging.known_prompts import KnownPrompt, KnownVariable
from tracescribe.evals.judging.truth import NO_AREA, TRUE_ABOVE
from tracescribe.evals.scripted.client import Question

MAX_WORDS = 12
"""Words of a predicate that the answer schema takes."""
MIN_AUC = 0.8
"""Of a label claim, as `docs/claims.md` has it."""
SURE_AREA = NO_AREA + TRUE_ABOVE * (MIN_AUC - NO_AREA)
"""Area under the ROC curve from which a label is true beyond doubt."""
SURE_DROP = 0.6931471805599453 * TRUE_ABOVE
"""Nats from which a necessity is true beyond doubt."""
SURE_GAIN = 0.5 * TRUE_ABOVE
"""Probability from which a swap is true beyond doubt."""


@dataclass(frozen=True, eq=False)
class Truthful:
    """A `Mind` that proposes what the gold knows of one prompt.

    Attributes:
        known: the prompt.
        words: labels by concept.
        corpus: where features fire.
    """

    known: KnownPrompt
    words: ConceptWords
    corpus: CorpusTruth

    def answer(self, question: Question) -> dict[str, Any]:
        """By the schema that is asked for; verdicts are not answered, since the gold knows nothing more."""
        match question.schema:
            case "FeatureLabelAnswer":
                return self._label(question)
            case "SupernodesAnswer":
                return {"supernodes": self._supernodes(question.data["groups"])}
            case "ClaimsAnswer":
                return {"claims": self._claims(question.data)}
            case "RevisionAnswer":
                return {"supernodes": [], "claims": []}
            case "JudgementsAnswer":
                return {"fires": [False] * question.n_booleans}
            case _:
                return {}

    # -- labels -------------------------------------------------------------------------------------------------------

    def _label(self, question: Question) -> dict[str, Any]:
        variable = self._carried_by(question.feature or "")
        if variable is None:
            return self._by_triggers(question.data)
        predicate, area = self._best_predicate(question.feature or "", variable)
        return {
            "text": self._gold(variable).label,
            "reads": "output" if self._says(variable) else "input",
            "predicate": {"on": predicate.on, "words": list(predicate.words)},
            "reason": f"It carries {variable.concept}; area {area:.2f}.",
        }

    def _by_triggers(self, data: dict[str, Any]) -> dict[str, Any]:
        """A feature that the gold does not know: the word that it fires on most."""
        rows = data.get("triggers")
        word = str(rows[0]["token"]) if isinstance(rows, list) and rows else "the"
        return {
            "text": word[:60],
            "reads": "input",
            "predicate": {"on": "token", "words": [word]},
            "reason": "It carries none of the prompt's variables.",
        }

    def _best_predicate(self, feature: str, variable: KnownVariable) -> tuple[Predicate, float]:
        layer, index = (int(part) for part in feature.split("/"))
        best, best_area = Predicate(on="next", words=(self.known.answer,)), 0.0
        for predicate in self.words.predicates(variable.site.variable, variable.site.value):
            short = predicate.model_copy(update={"words": predicate.words[:MAX_WORDS]})
            areas = self.corpus.both_ways(layer, index, short)
            if areas is not None and min(areas) > best_area:
                best, best_area = short, min(areas)
        return best, best_area

    # -- groups -------------------------------------------------------------------------------------------------------

    def _supernodes(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One supernode for each variable, of its own features alone."""
        offered = {member["feature"] for group in groups for member in group["members"]}
        found: list[dict[str, Any]] = []
        for variable in self.known.variables:
            nodes = [f"{node.layer}/{node.feature}@{node.position}" for node in variable.members]
            mine = [node for node in nodes if node in offered]
            if mine:
                gold = self._gold(variable)
                found.append({"groups": [], "members": mine, "label": gold.label, "role": gold.role})
        return found

    # -- claims -------------------------------------------------------------------------------------------------------

    def _claims(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """What the gold saw, about every supernode that is one of its own."""
        named: dict[str, KnownVariable] = {}
        for supernode in data["supernodes"]:
            variable = self._named(supernode)
            if variable is not None:
                named[supernode["id"]] = variable
        id_of = {variable.gold_id: name for name, variable in named.items()}
        claims = [claim for name, variable in named.items() for claim in self._about(name, variable)]
        for donor in data["donors"]:
            variable = named.get(donor["supernode"])
            if variable is not None and self._swaps_to(variable, donor["models_answer_to_it"]):
                claims.append({"kind": "swap", "donor": donor["id"]})
        for edge in self.known.gold.edges:
            if edge.source in id_of and edge.destination in id_of:
                ends = {"source": id_of[edge.source], "destination": id_of[edge.destination]}
                claims.append({"kind": "edge", **ends, "sign": edge.sign})
        for label in data["labels"]:
            variable = self._carried_by(label["feature"])
            if variable is not None and self._best_predicate(label["feature"], variable)[1] >= SURE_AREA:
                claims.append({"kind": "label", "feature": label["feature"]})
        return claims

    def _about(self, name: str, variable: KnownVariable) -> Iterable[dict[str, Any]]:
        effects = self.known.gold.effects_of(variable.gold_id)
        if effects is not None and effects.features_drop is not None and effects.features_drop >= SURE_DROP:
            yield {"kind": "necessity", "supernode": name}
            yield {
                "kind": "steering",
                "supernode": name,
                "multiplier": -1.0,
                "expected_token": self.known.answer,
                "direction": "down",
            }

    def _swaps_to(self, variable: KnownVariable, token: str) -> bool:
        effects = self.known.gold.effects_of(variable.gold_id)
        swaps = () if effects is None else effects.swaps_to(token.strip())
        return any(swap.features_gain is not None and swap.features_gain >= SURE_GAIN for swap in swaps)

    # -- who is who ---------------------------------------------------------------------------------------------------

    def _gold(self, variable: KnownVariable) -> GoldSupernode:
        return next(s for s in self.known.gold.supernodes if s.supernode_id == variable.gold_id)

    def _carried_by(self, feature: str) -> KnownVariable | None:
        for variable in self.known.variables:
            if any(f"{node.layer}/{node.feature}" == feature for node in variable.members):
                return variable
        return None

    def _named(self, supernode: dict[str, Any]) -> KnownVariable | None:
        """The variable that a supernode was named after; by its place where two share a name."""
        for variable in self.known.variables:
            if self._gold(variable).label == supernode["label"] and self._stands(variable, supernode["at"]):
                return variable
        return None

    def _stands(self, variable: KnownVariable, at: list[str]) -> bool:
        """Whether a place, `word @position`, is the variable's."""
        position = self.known.sample.roles[variable.site.role]
        return any(place.rsplit("@", 1)[-1] == str(position) for place in at)

    def _says(self, variable: KnownVariable) -> bool:
        return self._gold(variable).role == "output"
