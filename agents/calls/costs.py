"""What language-model calls cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What language-model calls cost, or can cost at most.

    Attributes:
        usd: None where no price is known.
    """

    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    @property
    def tokens(self) -> int:
        """Read and written together."""
        return self.input_tokens + self.output_tokens

    def within(self, other: Cost) -> bool:
        """Whether no part of this is more than the same part of `other`."""
        return (
            self.llm_calls <= other.llm_calls
            and self.tokens <= other.tokens
            and (self.usd or 0.0) <= (other.usd or 0.0)
        )
