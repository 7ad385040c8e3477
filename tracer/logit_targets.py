"""Which outputs a trace explains: the most probable tokens, given tokens, or weighted sums of logits ('Austin - Dallas').

A target is a covector on the final norm's output, `sum_i w_i (W_U[i] - mean W_U)`: a token alone has one weight of 1, a
difference of two logits has 1 and -1.

*Weight in the influence.* A token counts with its probability. A combination counts with `sum_i |w_i| p_i / max |w_i|`:
the probability of the tokens that it speaks of, so a difference counts `p_a + p_b`. The other candidate,
`|p_a - p_b|`, is 0 exactly where two answers are level, which is when somebody asks what tips the balance. Where a
combination is the only target its weight cancels out of every share, threshold and score.

*Number in the graph.* A combination has no token id; the target at place `i` of the list is numbered `vocab_size + i`, as
circuit-tracer 0.4.1 numbers its custom targets (github.com/decoderesearch/circuit-tracer), and its label says what it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tracescribe.tracer.architectures.base import Architecture
from tracescribe.tracer.errors import SettingError, UnknownIdError
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.vocabulary import shorten

Weights = tuple[tuple[int, float], ...]
"""Token ids with their weights."""

TargetSpec = int | str | Weights
"""A target as it is asked for: a token id, a text (`parse_target`), or token ids with weights."""

MAX_TERMS = 16
"""Most tokens in one combination: more is a direction, not a comparison that a label can name."""

_MINUS = "\u2212"
_OPERATOR = re.compile(r"\s+(\+|-|\u2212|\u2013|plus|minus)\s+")
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)\s*\*\s*(?=\S)")
_HYPHEN = re.compile(r"\w[-\u2212\u2013]\w")
_QUOTES = ("'", '"')


@dataclass(frozen=True)
class LogitTarget:
    """One output that is explained.

    Attributes:
        label: what people read: the token's text, or 'Austin \u2212 Dallas'.
        weights: token ids with their weights, each id once.
        probability: its weight in the influence, between 0 and 1.
    """

    label: str
    weights: Weights
    probability: float

    @property
    def token_id(self) -> int | None:
        """The token, or None where this is a combination."""
        return self.weights[0][0] if len(self.weights) == 1 and self.weights[0][1] == 1.0 else None

    def graph_id(self, place: int, vocab_size: int) -> int:
        """The number in the graph's feature column and node id.

        Args:
            place: of this target in the list of targets.
            vocab_size: logits per position.
        """
        return vocab_size + place if self.token_id is None else self.token_id


class TargetSettings(Protocol):
    """The part of the attribution settings that chooses targets."""

    @property
    def max_n_logits(self) -> int:
        """Most tokens where none are given."""
        ...

    @property
    def desired_logit_probability(self) -> float:
        """Fewer are taken where the most probable ones reach this together."""
        ...

    @property
    def target_tokens(self) -> tuple[int, ...]:
        """Given tokens."""
        ...

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """Given targets of any form, after `target_tokens`."""
        ...


def choose_targets(model: LanguageModel, logits: Tensor, settings: TargetSettings) -> tuple[LogitTarget, ...]:
    """The outputs that a trace explains.

    Args:
        model: for its vocabulary.
        logits: of the last position, as the model gives them (soft-cap included), `[vocab_size]`.
        settings: given targets, or else the shortest list of the most probable tokens that reaches the desired
            probability, and no more than the largest number.

    Raises:
        UnknownIdError: texts that name no token (all are listed, with near words).
        SettingError: ids outside the vocabulary, a target asked for twice, weights that cancel or are not finite.
    """
    probabilities = logits.double().softmax(-1)
    asked: tuple[TargetSpec, ...] = (*settings.target_tokens, *settings.targets)
    if not asked:
        top, tokens = probabilities.topk(min(settings.max_n_logits, len(logits)))
        n = int(torch.searchsorted(top.cumsum(0), settings.desired_logit_probability)) + 1
        chosen: list[Weights] = [((int(token), 1.0),) for token in tokens[:n]]
    else:
        chosen = resolve_targets(model, asked, probabilities)
    return tuple(
        LogitTarget(target_label(model, weights), weights, _probability(weights, probabilities)) for weights in chosen
    )


def resolve_targets(
    model: LanguageModel, asked: Sequence[TargetSpec], probabilities: Tensor | None = None
) -> list[Weights]:
    """Token ids and weights of every target that was asked for.

    Args:
        model: for its vocabulary.
        asked: in the order of the graph.
        probabilities: of the next token, `[vocab_size]`: a word written without quotes may be two tokens, with and
            without a space before it, and then the more probable one is meant; None takes it as it is written.

    Raises:
        UnknownIdError: texts that name no token.
        SettingError: ids outside the vocabulary, a target asked for twice, weights that cancel or are not finite.
    """
    unknown: list[str] = []
    faults: list[str] = []
    resolved: list[Weights] = []
    for spec in asked:
        try:
            if isinstance(spec, str):
                weights = _sum_up(_parse(model, spec, probabilities))
            else:
                weights = _sum_up([(spec, 1.0)] if isinstance(spec, int) else spec)
        except UnknownIdError as error:
            unknown.append(str(error))
            continue
        faults += _faults(spec, weights, model.vocab_size)
        resolved.append(weights)
    if unknown:
        raise UnknownIdError("; ".join(unknown))
    repeated = sorted({str(dict(w)) for i, w in enumerate(resolved) if w in resolved[:i]})
    faults += [f"the target of token weights {shown} is given twice" for shown in repeated]
    if faults:
        raise SettingError(f"targets: {'; '.join(faults)}")
    return resolved


def parse_target(model: LanguageModel, text: str, probabilities: Tensor | None = None) -> Weights:
    """Token ids and weights from a text: a token, or tokens joined by ' - ', ' + ', ' minus ' or ' plus '.

    A hyphen without spaces belongs to the word. A factor stands before a token with `*`: '0.5*Austin + 0.5*Houston -
    Dallas'. Quotes take a token literally, spaces included: "' Austin' - ' Dallas'".

    Args:
        model: for its vocabulary.
        text: what was written.
        probabilities: of the next token, `[vocab_size]` (see `resolve_targets`), or None.

    Raises:
        UnknownIdError: a part is no single token; the message lists near words.
        SettingError: the weights cancel.
    """
    return resolve_targets(model, [text], probabilities)[0]


def target_label(model: LanguageModel, weights: Weights) -> str:
    """Text of a target: the token's own (its leading space included), or 'Austin \u2212 2*Dallas' for a combination."""
    if len(weights) == 1 and weights[0][1] == 1.0:
        return model.token_text(weights[0][0])
    parts: list[str] = []
    for token, weight in weights:
        size = "" if abs(weight) == 1 else f"{abs(weight):g}*"
        sign = _MINUS if weight < 0 else "+"
        lead = f"{sign} " if parts else (_MINUS if weight < 0 else "")
        parts.append(f"{lead}{size}{model.token_text(token).strip()}")
    return " ".join(parts)


def covectors(architecture: Architecture, targets: Sequence[LogitTarget]) -> Tensor:
    """`sum_i w_i (W_U[i] - mean W_U)` of every target, on the final norm's output.

    Returns:
        `[n_targets, d_model]` in the compute dtype: float32, or float64 for a float64 model.
    """
    mean = architecture.mean_unembedding
    return (
        torch.stack([covector(architecture, target) for target in targets]) if targets else mean.new_zeros(0, len(mean))
    )


def covector(architecture: Architecture, target: LogitTarget) -> Tensor:
    """`sum_i w_i (W_U[i] - mean W_U)` of one target, on the final norm's output, `[d_model]` in the compute dtype."""
    mean = architecture.mean_unembedding
    tokens, weights = _columns(target, mean)
    return weights @ (architecture.unembedding[tokens].to(mean.dtype) - mean)


def own_bias(architecture: Architecture, targets: Sequence[LogitTarget]) -> Tensor:
    """What the unembedding's bias adds to every target, `sum_i w_i (b_i - mean b)`, `[n_targets]`."""
    mean = architecture.mean_unembedding
    if architecture.unembedding_bias is None:
        return mean.new_zeros(len(targets))
    bias = architecture.unembedding_bias.to(mean.dtype)
    return target_values(targets, bias)


def target_values(targets: Sequence[LogitTarget], logits: Tensor) -> Tensor:
    """`sum_i w_i (logit_i - mean logit)` of every target, `[n_targets]`: what its edges and bias must sum to.

    Args:
        targets: `[n_targets]`.
        logits: before any soft-cap, `[vocab_size]`.
    """
    centred = logits - logits.mean()
    values = logits.new_zeros(len(targets))
    for place, target in enumerate(targets):
        tokens, weights = _columns(target, logits)
        values[place] = weights @ centred[tokens]
    return values


def _columns(target: LogitTarget, like: Tensor) -> tuple[Tensor, Tensor]:
    """Token ids and weights of a target as tensors on the device of `like`, `[n_terms]` each."""
    tokens = torch.tensor([token for token, _ in target.weights], device=like.device)
    return tokens, torch.tensor([weight for _, weight in target.weights], dtype=like.dtype, device=like.device)


def _probability(weights: Weights, probabilities: Tensor) -> float:
    largest = max(abs(weight) for _, weight in weights)
    return min(1.0, sum(abs(weight) * float(probabilities[token]) for token, weight in weights) / largest)


def _sum_up(terms: Iterable[tuple[int, float]]) -> Weights:
    """Each token once, in the order of first mention; tokens whose weights cancel are dropped."""
    total: dict[int, float] = {}
    for token, weight in terms:
        total[int(token)] = total.get(int(token), 0.0) + float(weight)
    return tuple((token, weight) for token, weight in total.items() if weight != 0)


def _faults(spec: TargetSpec, weights: Weights, vocab_size: int) -> list[str]:
    shown = shorten(spec if isinstance(spec, str) else str(spec))
    outside = [token for token, _ in weights if not 0 <= token < vocab_size]
    faults = []
    if outside:
        faults.append(f"{outside} are not in 0..{vocab_size - 1} of the model's vocabulary")
    if any(not math.isfinite(weight) for _, weight in weights):
        faults.append(f"{shown!r} has a weight that is not finite")
    if not weights:
        faults.append(f"{shown!r} cancels to nothing; name two tokens that differ")
    if len(weights) > MAX_TERMS:
        faults.append(f"{shown!r} has {len(weights)} tokens, at most {MAX_TERMS} fit one target")
    return faults


def _parse(model: LanguageModel, text: str, probabilities: Tensor | None) -> list[tuple[int, float]]:
    """Terms of a text.

    Raises:
        UnknownIdError: a part is no single token.
    """
    parts = _OPERATOR.split(text)
    if len(parts) == 1 or _token(model, text) is not None:  # some tokenizers know 'A - B' as one token
        return [_term(model, text, probabilities)]
    signs = [1.0, *(1.0 if operator in ("+", "plus") else -1.0 for operator in parts[1::2])]
    terms, unknown = list[tuple[int, float]](), list[str]()
    for sign, part in zip(signs, parts[::2], strict=True):
        try:
            token, factor = _term(model, part, probabilities)
            terms.append((token, sign * factor))
        except UnknownIdError as error:
            unknown.append(str(error))
    if unknown:
        raise UnknownIdError(f"target {shorten(text)!r}: {'; '.join(unknown)}")
    return terms


def _term(model: LanguageModel, text: str, probabilities: Tensor | None) -> tuple[int, float]:
    """One token and the factor before it.

    Raises:
        UnknownIdError: the text is no single token.
    """
    spellings = (text,) if text[:1].isspace() else (text, f" {text}")
    found = [token for spelling in spellings if (token := _token(model, spelling)) is not None]
    if found:
        if probabilities is not None:
            found.sort(key=lambda token: -float(probabilities[token]))
        return found[0], 1.0
    bare = text.strip()
    if match := _FACTOR.match(bare):
        token, factor = _term(model, bare[match.end() :], probabilities)
        return token, factor * float(match[1])
    if len(bare) > 2 and bare[0] in _QUOTES and bare[-1] == bare[0]:
        return model.token_id(bare[1:-1]), 1.0
    try:
        return model.token_id(text), 1.0
    except UnknownIdError as error:
        if not _HYPHEN.search(bare):
            raise
        raise UnknownIdError(f"{error}; for a difference of two tokens put spaces around the minus sign") from None


def _token(model: LanguageModel, text: str) -> int | None:
    try:
        return model.token_id(text)
    except UnknownIdError:
        return None
