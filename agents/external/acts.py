"""What an agent from outside may ask before its answer: the corpus, the model's answers, interventions; all metered.

Each act is one that every agent has. A question that cannot be answered is refused in words and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.agents.external.answers import Intervene, LookUp, Predict, Question
from tracescribe.agents.external.case_document import feature_evidence
from tracescribe.agents.external.names import NodeNames
from tracescribe.agents.external.strict_json import shown
from tracescribe.agents.survey import Survey
from tracescribe.tracer.edits import Row, scaling
from tracescribe.tracer.errors import InputError, TracescribeError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

ALL_CONTEXTS = 64
"""More than a corpus scan keeps of one feature."""
TOP_TOKENS = 5
"""Output tokens that are told after an intervention, beside the case's own."""


@dataclass(frozen=True, eq=False)
class ActsOnCase:
    """Answers questions about one case."""

    tools: CaseTools
    survey: Survey
    names: NodeNames

    def reply(self, question: Question) -> Mapping[str, Any]:
        """What was found, under `told`, or why nothing was, under `refused`; the latter also where a limit is reached."""
        try:
            match question.ask:
                case LookUp(feature=feature):
                    return {"told": self._evidence(feature)}
                case Predict(prompts=prompts):
                    return {"told": self._predictions(prompts)}
                case Intervene() as asked:
                    return {"told": self._interventions(asked)}
        except TracescribeError as error:
            return {"refused": shown(str(error), 400)}

    def _evidence(self, feature: str) -> dict[str, Any]:
        ref = self.names.ref(feature)
        if ref is None:
            raise InputError(f"no feature {shown(feature, 40)!r} in this case; name a node id, or layer/feature")
        found = feature_evidence(self.tools, ref, ALL_CONTEXTS)
        if found is None:
            raise InputError("there is no corpus scan of this feature")
        return found.model_dump(mode="json")

    def _predictions(self, prompts: list[str]) -> list[dict[str, Any]]:
        self._check_weights()
        return [
            {"prompt": one.prompt, "token": one.token, "probability": one.probability}
            for one in self.tools.predict(prompts)
        ]

    def _interventions(self, asked: Intervene) -> dict[str, Any]:
        self._check_weights()
        clean = self.tools.clean()
        rows: list[Row] = []
        for settings in asked.rows:
            row: list[Any] = []
            for one in settings:
                node = self.names.nodes.get(one.node)
                if node is None:
                    raise InputError(f"no feature node {shown(one.node, 40)!r} in this case")
                row.extend(scaling([node], one.multiplier, clean))
            rows.append(row)
        result = self.tools.intervene(rows)
        targets = [
            (t.token, int(self.survey.full.nodes.feature[self.names.index[t.node_id]])) for t in self.survey.targets
        ]
        in_range = [(token, i) for token, i in targets if 0 <= i < result.clean_probabilities.shape[-1]]
        return {
            "clean": self._told(result.clean_probabilities, in_range),
            "rows": [self._told(row, in_range) for row in result.probabilities],
        }

    def _told(self, probabilities: Any, targets: list[tuple[str, int]]) -> dict[str, Any]:
        best = probabilities.topk(min(TOP_TOKENS, probabilities.shape[-1]))
        return {
            "targets": [[token, float(probabilities[i])] for token, i in targets],
            "top": [
                [self.tools.model.token_text(int(token)), float(p)]
                for token, p in zip(best.indices, best.values, strict=True)
            ],
        }

    def _check_weights(self) -> None:
        why = self.tools.why_untestable()
        if why is not None:
            raise InputError(f"nothing can be run: {why}")
