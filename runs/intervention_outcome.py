"""What people are shown of an intervention: the edits, and tokens, readings and continuations before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tracescribe.runs.written_edits import EditShown, show_edits

if TYPE_CHECKING:
    from tracescribe.runs.loading import Pair
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import AnyEdit
    from tracescribe.tracer.interventions import InterventionResult


@dataclass(frozen=True)
class TokenShown:
    """One output token before and after: its probability, its place among all (1 is the most probable), its logit."""

    token: str
    before: float
    after: float
    rank_before: int
    rank_after: int
    logit_before: float
    logit_after: float


@dataclass(frozen=True)
class TextShown:
    """What was written after the prompt: the text, its tokens, and the mean log-probability of a token, in nats."""

    text: str
    tokens: tuple[str, ...]
    mean_log_probability: float
    stopped: bool


@dataclass(frozen=True)
class InterventionOutcome:
    """What the intervention did.

    Attributes:
        answer_before, answer_after: the most probable token.
        tokens: the most probable tokens before or after, by the larger of their two probabilities.
        readings: the features that were asked for, before and after.
        text_before, text_after: continuations, where they were asked for.
    """

    prompt: str
    mode: str
    edits: tuple[EditShown, ...]
    answer_before: str
    answer_after: str
    tokens: tuple[TokenShown, ...]
    readings: tuple[EditShown, ...] = field(default=())
    text_before: TextShown | None = None
    text_after: TextShown | None = None

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return asdict(self)


def outcome_of(
    prompt: str,
    mode: str,
    edits: Sequence[AnyEdit],
    result: InterventionResult,
    pair: Pair,
    clean: CleanRun,
    top: int,
    texts: Sequence[TextShown] = (),
) -> InterventionOutcome:
    """What people are shown of an intervention that was run.

    Args:
        result: its first row is shown.
        top: how many tokens to show.
        texts: what the model writes without the edits and with them; empty where nobody asked.
    """
    before, after = result.clean_logits[-1].argmax(), result.logits[0, -1].argmax()
    return InterventionOutcome(
        prompt=prompt,
        mode=mode,
        edits=show_edits(edits, pair, clean),
        answer_before=pair.model.token_text(int(before)),
        answer_after=pair.model.token_text(int(after)),
        tokens=_top_tokens(pair, result, top),
        readings=_readings(result, pair, clean),
        text_before=texts[0] if texts else None,
        text_after=texts[1] if texts else None,
    )


def _readings(result: InterventionResult, pair: Pair, clean: CleanRun) -> tuple[EditShown, ...]:
    return tuple(
        EditShown(
            feature=str(node.ref),
            position=node.position,
            token=pair.model.token_text(int(clean.tokens[node.position])),
            before=float(result.clean_activations[index]) + 0.0,
            after=float(result.activations[0, index]) + 0.0,
        )
        for index, node in enumerate(result.read)
    )


def _top_tokens(pair: Pair, result: InterventionResult, top: int) -> tuple[TokenShown, ...]:
    """The most probable tokens before and after, by their larger probability."""
    before, after = result.clean_probabilities, result.probabilities[0]
    n = min(top, len(before))
    chosen = set(before.topk(n).indices.tolist()) | set(after.topk(n).indices.tolist())
    ranked = sorted(chosen, key=lambda i: (-max(float(before[i]), float(after[i])), i))[:n]
    return tokens_shown(pair, result, ranked)


def tokens_shown(pair: Pair, result: InterventionResult, token_ids: Sequence[int]) -> tuple[TokenShown, ...]:
    """Some output tokens, before and after the first row of edits."""
    before, after = result.clean_probabilities, result.probabilities[0]
    old, new = result.clean_ranks(token_ids).tolist(), result.ranks(token_ids)[0].tolist()
    return tuple(
        TokenShown(
            token=pair.model.token_text(i),
            before=float(before[i]),
            after=float(after[i]),
            rank_before=old[place] + 1,
            rank_after=new[place] + 1,
            logit_before=float(result.clean_logits[-1, i]),
            logit_after=float(result.logits[0, -1, i]),
        )
        for place, i in enumerate(token_ids)
    )
