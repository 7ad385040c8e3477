"""What the three styles of language-model agent share: name, settings, prompt versions, and who judges labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tracescribe.agents.agent import LabelJudge
from tracescribe.agents.grouping.supernodes import GroupSettings
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import LlmAgentSettings
from tracescribe.agents.ranking import PlainRanking
from tracescribe.agents.testing.donors import DonorSettings
from tracescribe.prompts.library import load_prompt, prompt_versions

JUDGING_TEMPLATES = ("detect_feature", "fuzz_feature")


@dataclass(frozen=True, eq=False)
class LlmProposerBase(PlainRanking):
    """A proposer that asks a language model, but for the thinking itself.

    Attributes:
        given: every setting.
        session: who is asked.
        TEMPLATES: prompts of the style, those of repairs and of label judging aside.
    """

    given: LlmAgentSettings
    session: LlmSession

    TEMPLATES: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """As set, or made of style and model: `llm-pipeline:gpt-5.1`."""
        return self.given.name or f"llm-{self.given.style}:{self.session.client.endpoint.model}"

    def settings(self) -> Mapping[str, object]:
        """Every setting of every step, and who was asked."""
        return {
            "base_url": self.session.client.endpoint.base_url,
            **self.given.as_json(),
            "groups": GroupSettings().as_json(),
            "donors": DonorSettings().as_json(),
        }

    def prompt_versions(self) -> Mapping[str, str]:
        """Version and hash of every template that may be sent."""
        judging = JUDGING_TEMPLATES if self.given.judges_labels else ()
        return prompt_versions((*self.TEMPLATES, "repair_answer", *judging))

    def label_judge(self) -> LabelJudge | None:
        """The same language model, shown a label's words alone; None where settings leave judging to code."""
        if not self.given.judges_labels:
            return None
        from tracescribe.agents.llm.label_judge import LlmLabelJudge

        return LlmLabelJudge(self.session)

    def signed(self, template: str) -> str:
        """Who made an answer: model, and prompt with its version."""
        return f"{self.session.client.endpoint.model} by {load_prompt(template).reference}"
