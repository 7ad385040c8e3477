"""Targets: what was asked for becomes token weights, a covector, a weight in the influence and a label."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.tracer.tiny_pair import TinyShape, make_pair
from tracescribe.tracer.errors import SettingError, UnknownIdError
from tracescribe.tracer.logit_targets import (
    LogitTarget,
    TargetSpec,
    choose_targets,
    covector,
    covectors,
    own_bias,
    parse_target,
    target_label,
    target_values,
)
from tracescribe.tracer.models import LanguageModel


@dataclass(frozen=True)
class Asked:
    """The settings that choose targets."""

    max_n_logits: int = 10
    desired_logit_probability: float = 0.95
    target_tokens: tuple[int, ...] = ()
    targets: tuple[TargetSpec, ...] = ()


class SpacedWords:
    """A vocabulary that knows words with and without the space before them, as byte-pair vocabularies do."""

    words = (" Austin", "Austin", " Dallas", "co-op", "-", " - ", "2*", "A - B", "Rome")
    vocab_size = len(words)

    def token_text(self, token_id: int) -> str:
        """As a model's."""
        return self.words[token_id]

    def token_id(self, text: str) -> int:
        """As a model's."""
        if text not in self.words:
            raise UnknownIdError(f"{text!r} is not a token")
        return self.words.index(text)


SPACED = cast(LanguageModel, SpacedWords())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random model of 40 words."""
    return make_pair(tmp_path_factory.mktemp("pair"), TinyShape(seed=5))[0]


def logits_of(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).log()


def test_the_most_probable_tokens_up_to_the_desired_share(model: LanguageModel) -> None:
    rest = [1e-9] * 36
    logits = logits_of(0.11, 0.5, 0.3, 0.09, *rest)
    for share, expected in ((0.4, [1]), (0.5001, [1, 2]), (0.95, [1, 2, 0, 3]), (0.8001, [1, 2, 0])):
        chosen = choose_targets(model, logits, Asked(desired_logit_probability=share))
        assert sorted(t.weights[0][0] for t in chosen) == sorted(expected)
    capped = choose_targets(model, logits, Asked(max_n_logits=2))
    assert [t.weights for t in capped] == [((1, 1.0),), ((2, 1.0),)]
    assert [t.probability for t in capped] == pytest.approx([0.5, 0.3])
    assert choose_targets(model, logits, Asked(desired_logit_probability=1.0, max_n_logits=99))[-1].probability < 1e-8


def test_given_tokens_come_in_their_order_with_their_own_probability(model: LanguageModel) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(0))
    chosen = choose_targets(model, logits, Asked(target_tokens=(9, 4), targets=("w7", 3)))
    assert [t.token_id for t in chosen] == [9, 4, 7, 3]
    assert [t.label.strip() for t in chosen] == ["w9", "w4", "w7", "w3"]
    assert [t.probability for t in chosen] == pytest.approx(logits.softmax(-1)[[9, 4, 7, 3]].tolist())


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("w5 - w7", ((5, 1.0), (7, -1.0))),
        ("w5 minus w7", ((5, 1.0), (7, -1.0))),
        ("w5 \u2212 w7", ((5, 1.0), (7, -1.0))),
        ("w5 + w6 - w7", ((5, 1.0), (6, 1.0), (7, -1.0))),
        ("0.5*w5 plus 0.5 * w6 - w7", ((5, 0.5), (6, 0.5), (7, -1.0))),
        ("'w5' - \"w7\"", ((5, 1.0), (7, -1.0))),
        ("w5 + w5 - w7", ((5, 2.0), (7, -1.0))),
        ("w5 - w7 + w7", ((5, 1.0),)),
        ("w5", ((5, 1.0),)),
    ],
)
def test_texts_become_weights(text: str, weights: tuple[tuple[int, float], ...], model: LanguageModel) -> None:
    assert parse_target(model, text) == weights


def test_a_label_says_what_was_asked_and_reads_back_as_the_same(model: LanguageModel) -> None:
    assert target_label(model, ((5, 1.0), (7, -1.0))) == "w5 \u2212 w7"
    for weights in (((5, 0.5), (6, -2.0), (7, 1.0)), ((5, 1.0), (7, -1.0)), ((4, 2.5),)):
        assert parse_target(model, target_label(model, weights)) == weights


def test_a_hyphen_belongs_to_the_word_and_an_operator_needs_spaces() -> None:
    assert parse_target(SPACED, "co-op") == ((3, 1.0),)
    assert parse_target(SPACED, "co-op - Rome") == ((3, 1.0), (8, -1.0))
    assert parse_target(SPACED, "A - B") == ((7, 1.0),)  # a token that is spelled like a difference
    assert parse_target(SPACED, "2*") == ((6, 1.0),)
    with pytest.raises(
        UnknownIdError, match="'Austin-Dallas' is not a token; for a difference of two tokens put spaces"
    ):
        parse_target(SPACED, "Austin-Dallas")


def test_of_two_spellings_the_more_probable_is_meant_and_quotes_take_one() -> None:
    """'Austin' typed at a shell means the word; in running text the word's token carries its leading space."""
    likely_spaced = torch.tensor([0.6, 0.01, 0.3, 0, 0, 0, 0, 0, 0.09])
    likely_bare = torch.tensor([0.01, 0.6, 0.3, 0, 0, 0, 0, 0, 0.09])
    assert parse_target(SPACED, "Austin - Dallas", likely_spaced) == ((0, 1.0), (2, -1.0))
    assert parse_target(SPACED, "Austin - Dallas", likely_bare) == ((1, 1.0), (2, -1.0))
    assert parse_target(SPACED, "Austin") == ((1, 1.0),)  # as written where nothing is known
    assert parse_target(SPACED, " Austin", likely_bare) == ((0, 1.0),)
    assert parse_target(SPACED, "' Austin' - Dallas", likely_bare) == ((0, 1.0), (2, -1.0))
    assert parse_target(SPACED, "'Austin' - Dallas", likely_spaced) == ((1, 1.0), (2, -1.0))


def test_a_difference_counts_with_the_probability_of_both_tokens(model: LanguageModel) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1))
    p = logits.double().softmax(-1)
    (difference,) = choose_targets(model, logits, Asked(targets=("w5 - w7",)))
    assert difference.probability == pytest.approx(float(p[5] + p[7]))
    assert difference.token_id is None
    # scaling a combination scales its edges, not its weight in the influence
    (doubled,) = choose_targets(model, logits, Asked(targets=(((5, 2.0), (7, -2.0)),)))
    assert doubled.probability == pytest.approx(difference.probability)
    level = torch.zeros(40)
    assert choose_targets(model, level, Asked(targets=("w5 - w7",)))[0].probability == pytest.approx(2 / 40)


def test_the_number_of_a_combination_cannot_be_a_token(model: LanguageModel) -> None:
    logits = torch.zeros(40)
    chosen = choose_targets(model, logits, Asked(targets=("w5", "w5 - w7", 3, "w5 + w7")))
    assert [t.graph_id(i, 40) for i, t in enumerate(chosen)] == [5, 41, 3, 43]
    assert LogitTarget("half", ((5, 0.5),), 0.1).graph_id(0, 40) == 40  # one token, but not its logit


@pytest.mark.parametrize("tied", [True, False])
def test_covector_bias_and_value_are_those_of_the_models_logits(tied: bool, tmp_path: Path) -> None:
    """For any final residual stream x: covector . x + bias = sum of weighted, demeaned logits."""
    model, _ = make_pair(tmp_path, TinyShape(seed=6, tied=tied))
    head = cast(Any, model.hf).get_output_embeddings().double()
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(head.weight.shape, generator=generator, dtype=torch.float64)
    bias = torch.randn(len(weight), generator=generator, dtype=torch.float64)
    architecture = dataclasses.replace(model.architecture, unembedding=weight, unembedding_bias=bias)
    asked = Asked(targets=("w5", "w5 - w7", ((3, 0.25), (9, -4.0))))
    targets = choose_targets(model, torch.zeros(40), asked)
    x = torch.randn(weight.shape[1], generator=generator, dtype=torch.float64)
    logits = weight @ x + bias
    demeaned = logits - logits.mean()
    expected = torch.stack([demeaned[5], demeaned[5] - demeaned[7], 0.25 * demeaned[3] - 4 * demeaned[9]])
    found = covectors(architecture, targets) @ x + own_bias(architecture, targets)
    assert found.dtype == torch.float64
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    assert (target_values(targets, logits) - expected).abs().max() < 1e-12 * expected.abs().max()
    assert torch.equal(covector(architecture, targets[1]), covectors(architecture, targets)[1])
    assert covectors(architecture, []).shape == (0, weight.shape[1])


def test_half_precision_weights_are_traced_in_float32(model: LanguageModel) -> None:
    architecture = dataclasses.replace(model.architecture, unembedding=model.architecture.unembedding.bfloat16())
    targets = choose_targets(model, torch.zeros(40).bfloat16(), Asked(targets=("w5 - w7",)))
    assert covectors(architecture, targets).dtype == own_bias(architecture, targets).dtype == torch.float32


def test_a_difference_does_not_see_what_all_logits_share(model: LanguageModel) -> None:
    """The mean cancels in a difference: its covector is W_U[a] - W_U[b]."""
    (difference,) = choose_targets(model, torch.zeros(40), Asked(targets=("w5 - w7",)))
    weight = model.architecture.unembedding
    assert torch.allclose(covector(model.architecture, difference), weight[5] - weight[7], atol=1e-6)


def test_every_wrong_word_is_told_with_near_ones(model: LanguageModel) -> None:
    with pytest.raises(UnknownIdError) as caught:
        choose_targets(model, torch.zeros(40), Asked(targets=("w55", "w5", "w77 - w99")))
    told = str(caught.value)
    for part in ("'w55' is not a token", "(near: w5", "'w77 - w99': 'w77' is not a token", "'w99' is not a token"):
        assert part in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(target_tokens=(40,)), r"\[40\] are not in 0\.\.39"),
        (Asked(targets=(((5, 1.0), (-1, 1.0)),)), r"\[-1\] are not in 0\.\.39"),
        (Asked(targets=("w5 - w5",)), "'w5 - w5' cancels to nothing"),
        (Asked(targets=("0*w5",)), "cancels to nothing"),
        (Asked(targets=("w5", 5)), "is given twice"),
        (Asked(target_tokens=(5,), targets=("w5",)), "is given twice"),
        (Asked(targets=(((5, float("nan")),),)), "a weight that is not finite"),
        (Asked(targets=(tuple((i, 1.0) for i in range(17)),)), "17 tokens, at most 16"),
    ],
)
def test_targets_that_cannot_be(asked: Asked, told: str, model: LanguageModel) -> None:
    with pytest.raises(SettingError, match=told):
        choose_targets(model, torch.zeros(40), asked)
