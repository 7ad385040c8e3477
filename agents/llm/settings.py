"""Settings of the language-model agent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from tracescribe.agents.llm.case_view import EvidenceSettings
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.tracer.errors import SettingError

Style = Literal["one-shot", "pipeline", "investigator"]
STYLES: tuple[Style, ...] = ("pipeline", "one-shot", "investigator")
"""How a language model works on a case; the first is the default."""

RESULT_FREE = frozenset(
    {
        "timeout_seconds",
        "concurrency",
        "max_attempts",
        "first_wait_seconds",
        "longest_wait_seconds",
        "stream",
        "price_input",
        "price_output",
    }
)
"""Provider settings that decide when an answer comes and what it costs, never which; a report leaves them out."""


@dataclass(frozen=True)
class DialogueSettings:
    """Limits of an investigator's dialogues; a dialogue ends at the first that is reached.

    Attributes:
        max_turns: questions of the dialogue that explores; each costs one call.
        max_claim_turns: of every dialogue that proposes claims, which finds the exploring done.
        max_actions: actions of one turn; enough to look at a page of features at once.
        max_transcript_chars: longest transcript shown, some 12,000 tokens; older results are shortened to a line.
        max_result_chars: longest result of one action.
        page: features of one page of a list.
        max_failed_turns: turns one after another of which every action failed, before the dialogue is given up.
        max_supernodes: supernodes that are kept.
    """

    max_turns: int = 24
    max_claim_turns: int = 10
    max_actions: int = 12
    max_transcript_chars: int = 48_000
    max_result_chars: int = 8_000
    page: int = 20
    max_failed_turns: int = 3
    max_supernodes: int = 30

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class LlmAgentSettings:
    """Settings of the language-model agent.

    Attributes:
        provider: who is asked, and how.
        style: `pipeline`: every step one structured question; `one-shot`: one question in all, no look-ups;
            `investigator`: the model chooses what to look at, and what to claim.
        name: the agent's name in reports and leaderboards; empty makes one of style and model.
        max_labels: features that are labelled, most influential first; each costs one call of a pipeline.
        max_claims: claims of the first round; more would make each harder to support (Benjamini-Hochberg).
        max_revised_claims: claims of a round of revision.
        max_swapped: supernodes, by influence, for which donors are looked for in a round; each costs some 50 forward passes.
        max_table_chars: longest table of features in a one-shot question, some 12,000 tokens.
        judge_labels: whether the model also judges labels by their words alone; None: yes, but for one-shot, whose one
            call would otherwise become hundreds.
        evidence: how much is shown.
        dialogue: limits of an investigator's dialogues.

    Raises:
        SettingError: no such style.
    """

    provider: ProviderSettings
    style: Style = "pipeline"
    name: str = ""
    max_labels: int = 40
    max_claims: int = 20
    max_revised_claims: int = 8
    max_swapped: int = 5
    max_table_chars: int = 48_000
    judge_labels: bool | None = None
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    dialogue: DialogueSettings = field(default_factory=DialogueSettings)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise SettingError(f"no agent style {self.style!r}; choose one of {', '.join(STYLES)}")

    @property
    def judges_labels(self) -> bool:
        """Whether the model judges labels by their words alone."""
        return self.style != "one-shot" if self.judge_labels is None else self.judge_labels

    def as_json(self) -> dict[str, object]:
        """What decides the outcome, as plain JSON values."""
        provider = self.provider.model_dump(mode="json", exclude=set(RESULT_FREE | {"base_url"}))
        return {
            "provider": provider | {"model": self.provider.shown_model},
            "style": self.style,
            "max_labels": self.max_labels,
            "max_claims": self.max_claims,
            "max_revised_claims": self.max_revised_claims,
            "max_swapped": self.max_swapped,
            "max_table_chars": self.max_table_chars,
            "judge_labels": self.judges_labels,
            "evidence": self.evidence.as_json(),
            **({"dialogue": self.dialogue.as_json()} if self.style == "investigator" else {}),
        }
