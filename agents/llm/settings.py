"""Settings of the language-model agent."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracescribe.agents.llm.case_view import EvidenceSettings
from tracescribe.agents.providers.settings import ProviderSettings

RESULT_FREE = frozenset(
    {"timeout_seconds", "concurrency", "max_attempts", "first_wait_seconds", "longest_wait_seconds"}
)
"""Provider settings that decide when an answer comes, never which; a report leaves them out."""


@dataclass(frozen=True)
class LlmAgentSettings:
    """Settings of the language-model agent.

    Attributes:
        provider: who is asked, and how.
        name: the agent's name in reports and leaderboards; give each model its own to compare them.
        max_labels: features that are labelled, most influential first; each costs one call.
        max_claims: claims of the first round; more would make each harder to support (Benjamini-Hochberg).
        max_revised_claims: claims of a round of revision.
        max_swapped: supernodes, by influence, for which donors are looked for; each costs some 50 forward passes.
        evidence: how much is shown.
    """

    provider: ProviderSettings
    name: str = "llm"
    max_labels: int = 60
    max_claims: int = 20
    max_revised_claims: int = 8
    max_swapped: int = 5
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)

    def as_json(self) -> dict[str, object]:
        """What decides the outcome, as plain JSON values."""
        return {
            "provider": self.provider.model_dump(mode="json", exclude=set(RESULT_FREE | {"base_url"})),
            "max_labels": self.max_labels,
            "max_claims": self.max_claims,
            "max_revised_claims": self.max_revised_claims,
            "max_swapped": self.max_swapped,
            "evidence": self.evidence.as_json(),
        }
