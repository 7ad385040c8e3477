"""Steering while the model writes: equal to running each longer prompt anew, and to Hugging Face's own generation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import tracescribe.tracer.generation as generation_module
from tests.tracer.exact_cases import make_case
from tests.tracer.tiny_families import FAMILIES
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.clean_run import CleanRun, clean_run
from tracescribe.tracer.edits import AnyEdit, DirectionEdit, ErrorEdit, FeatureEdit, FeatureShift, InterventionSettings
from tracescribe.tracer.errors import InterventionError, SettingError
from tracescribe.tracer.generation import Continuation, GenerationResult, GenerationSettings, generate
from tracescribe.tracer.interventions import intervene

N_NEW = 6
NEVER: tuple[int, ...] = ()
"""Stop tokens of a text that is written to its full length."""


@pytest.fixture(scope="module", params=FAMILIES)
def clean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CleanRun:
    """A prompt longer than the windows of the families that have one."""
    family = str(request.param)
    shape = TranscoderShape("plt", "jumprelu", "mlp.hook_in", skip=True) if family == "qwen3" else TranscoderShape()
    case = make_case(tmp_path_factory.mktemp(family), family, shape, seed=FAMILIES.index(family) + 40)
    return clean_run(*case.open(), case.tokens)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> CleanRun:
    case = make_case(tmp_path_factory.mktemp("llama"), "llama", TranscoderShape(), seed=3)
    return clean_run(*case.open(), case.tokens)


def run(
    clean: CleanRun, rows: Sequence[Sequence[AnyEdit]], settings: InterventionSettings | None = None, **named: Any
) -> GenerationResult:
    options: dict[str, Any] = {"max_new_tokens": N_NEW, "stop_tokens": NEVER} | named
    return generate(
        clean.model, clean.transcoders, clean.tokens, rows, settings, GenerationSettings(**options), clean=clean
    )


def steering(clean: CleanRun) -> list[list[AnyEdit]]:
    """Rows that act from a position on, at one position, on the stream, behind the prompt, and not at all."""
    along = torch.arange(clean.model.d_model).double().cos()
    active = int(clean.activations(0)[3].argmax())
    return [
        [FeatureEdit(0, slice(1, None), active, 4.0), FeatureShift(1, slice(2, None), 3, 2.0)],
        [FeatureEdit(0, 3, active, -3.0)],
        [DirectionEdit(1, slice(0, None), along, 3.0, "set"), FeatureEdit(2, slice(4, None), 1, 5.0)],
        [DirectionEdit(2, slice(clean.n_pos, None), along, 4.0, "add", "resid_mid")],
        [FeatureShift(0, 2, 1, 0.0)],
    ]


def step_by_step(clean: CleanRun, row: Sequence[AnyEdit]) -> Continuation:
    """The same text, from an intervention on each longer prompt: no cache, one token at a time."""
    tokens, told = clean.tokens, list[float]()
    for _ in range(N_NEW):
        acting = [edit for edit in row if not isinstance(edit.position, slice) or edit.position.start < len(tokens)]
        if acting:
            logits = intervene(clean.model, clean.transcoders, tokens, [acting]).logits[0, -1]
        else:
            logits = clean_run(clean.model, clean.transcoders, tokens).logits[-1]
        best = int(logits.argmax())
        told.append(float(logits.log_softmax(-1)[best]))
        tokens = torch.cat([tokens, torch.tensor([best])])
    return Continuation(tuple(tokens[clean.n_pos :].tolist()), tuple(told), stopped=False)


def test_edits_act_on_each_new_token(clean: CleanRun) -> None:
    rows = steering(clean)
    found = run(clean, rows)
    for row, written in zip(rows, found.rows, strict=True):
        expected = step_by_step(clean, row)
        assert written.tokens == expected.tokens
        assert written.log_probabilities == pytest.approx(expected.log_probabilities, abs=1e-9)
    assert found.rows[4].tokens == found.clean.tokens
    plain = torch.tensor(found.clean.log_probabilities)
    moved = [float((torch.tensor(written.log_probabilities) - plain).abs().max()) for written in found.rows]
    assert min(moved[:4]) > 1e-4 and moved[4] < 1e-9, "the edits must make a difference for this to test anything"


def test_the_unedited_text_is_hugging_faces(clean: CleanRun) -> None:
    written = run(clean, steering(clean)[:1]).clean
    with torch.no_grad():
        theirs = cast(Any, clean.model.hf).generate(
            clean.tokens[None],
            attention_mask=torch.ones_like(clean.tokens)[None],
            max_new_tokens=N_NEW,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=2,
        )
    assert written.tokens == tuple(theirs[0, clean.n_pos :].tolist())


def test_what_is_held_is_held_for_the_prompt_alone(llama: CleanRun) -> None:
    """The first token is that of the intervention; no later token can be, since the prompt's run ends there."""
    row = steering(llama)[0]
    for settings in (
        InterventionSettings(freeze_attention=True),
        InterventionSettings(mode="constrained", constrained_layers=(0, 1)),
        InterventionSettings(mode="direct"),
    ):
        written = run(llama, [row], settings)
        expected = intervene(llama.model, llama.transcoders, llama.tokens, [row], settings).log_probabilities[0]
        assert written.rows[0].tokens[0] == int(expected.argmax())
        assert written.rows[0].log_probabilities[0] == pytest.approx(float(expected.max()), abs=1e-9)
        open_run = run(llama, [row])
        assert written.clean.log_probabilities == pytest.approx(open_run.clean.log_probabilities, abs=1e-9)
        assert len(written.rows[0].tokens) == N_NEW


def test_rows_do_not_depend_on_their_batch(llama: CleanRun) -> None:
    rows = steering(llama)
    settings = GenerationSettings(max_new_tokens=N_NEW, stop_tokens=NEVER, temperature=1.0, seed=4)
    together = generate(llama.model, llama.transcoders, llama.tokens, rows, None, settings)
    apart = generate(llama.model, llama.transcoders, llama.tokens, rows, None, settings, batch_size=2, clean=llama)
    assert [written.tokens for written in apart.rows] == [written.tokens for written in together.rows]
    assert apart.clean.tokens == together.clean.tokens
    without_cache = dataclasses.replace(llama, keys=(), values=())
    slow = generate(llama.model, llama.transcoders, llama.tokens, rows, None, settings, clean=without_cache)
    assert [written.tokens for written in slow.rows] == [written.tokens for written in together.rows]


def test_a_stop_token_ends_its_own_row(llama: CleanRun) -> None:
    whole = run(llama, steering(llama), temperature=2.0)  # of the most probable tokens, all texts are much the same
    stop = whole.rows[0].tokens[2]
    assert any(stop not in written.tokens for written in whole.rows)
    found = run(llama, steering(llama), temperature=2.0, stop_tokens=(stop,))
    for written, long in zip([*found.rows, found.clean], [*whole.rows, whole.clean], strict=True):
        end = long.tokens.index(stop) + 1 if stop in long.tokens else N_NEW
        assert written.tokens == long.tokens[:end]
        assert written.log_probabilities == pytest.approx(long.log_probabilities[:end])
        assert written.stopped == (stop in long.tokens)


def test_the_models_own_stop_token_counts(llama: CleanRun, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(llama, steering(llama)).clean.tokens[0]
    monkeypatch.setattr(cast(Any, llama.model.hf).generation_config, "eos_token_id", [1, first])
    found = run(llama, steering(llama), stop_tokens=None)
    assert found.clean.tokens == (first,) and found.clean.stopped


def test_draws_are_seeded_and_shared(llama: CleanRun) -> None:
    rows = [steering(llama)[0], steering(llama)[4]]
    texts = set()
    for seed in range(8):
        found = run(llama, rows, temperature=1.5, seed=seed)
        assert found == run(llama, rows, temperature=1.5, seed=seed)
        assert found.rows[1].tokens == found.clean.tokens, "an edit of nothing changes no token"
        texts.add(found.clean.tokens)
    assert len(texts) == 8
    cold = run(llama, rows, temperature=1e-6)
    assert cold.clean.tokens == run(llama, rows).clean.tokens


def test_draws_follow_the_probabilities() -> None:
    """Frequencies of 4,000 draws, each within four standard deviations of its probability."""
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, -30.0]], dtype=torch.float64)
    settings = GenerationSettings(max_new_tokens=5000, temperature=2.0, seed=11)
    writer = generation_module._Writer(1, settings, frozenset())
    n = 4000
    counts = torch.bincount(torch.tensor([int(writer.choose(logits)) for _ in range(n)]), minlength=5) / n
    expected = (logits[0] / 2.0).softmax(-1)
    assert bool(((counts - expected).abs() <= 4 * (expected * (1 - expected) / n).sqrt() + 1e-9).all())
    told = torch.tensor(writer.log_probabilities[0])
    chosen = torch.tensor(writer.tokens[0])
    assert torch.allclose(told.double(), logits[0].log_softmax(-1)[chosen], atol=1e-6), "told at temperature 1"


def test_errors_are_edited_within_the_prompt(llama: CleanRun) -> None:
    """There is no clean run of what is written, so an open slice of errors ends with the prompt."""
    n_pos = llama.n_pos
    everywhere, within = (run(llama, [[ErrorEdit(1, slice(1, stop), 3.0)]]).rows[0] for stop in (None, n_pos))
    assert everywhere == within
    with pytest.raises(InterventionError, match=f"position {n_pos} is outside the prompt: 0 to {n_pos - 1} exist"):
        run(llama, [[ErrorEdit(1, n_pos, 3.0)]])


def test_edits_may_stand_on_tokens_that_are_not_written_yet(llama: CleanRun) -> None:
    position = llama.n_pos + 2
    plain = run(llama, [[FeatureShift(0, 2, 1, 0.0)]]).clean
    changed = run(llama, [[FeatureShift(1, position, 2, 400.0)]]).rows[0]
    assert changed.tokens[:3] == plain.tokens[:3]
    assert changed.log_probabilities[:3] == pytest.approx(plain.log_probabilities[:3])
    assert changed.log_probabilities[3] != pytest.approx(plain.log_probabilities[3])
    last = llama.n_pos + N_NEW - 2
    with pytest.raises(InterventionError, match=f"position {last + 1} is outside the prompt: 0 to {last} exist"):
        run(llama, [[FeatureShift(1, last + 1, 2, 400.0)]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, found 0"),
        ({"temperature": -1.0}, "temperature must be 0 or more, found -1.0"),
        ({"temperature": float("nan")}, "temperature must be 0 or more"),
        ({"stop_tokens": (4, 99)}, r"stop tokens \[99\] do not exist; the model has ids 0 to 39"),
    ],
)
def test_bad_settings_are_refused(llama: CleanRun, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(llama, [[FeatureShift(0, 2, 1, 0.0)]], **options)


def test_bad_calls_are_refused(llama: CleanRun) -> None:
    row: list[AnyEdit] = [FeatureShift(0, 2, 1, 1.0)]
    with pytest.raises(InterventionError, match="needs 65 positions, the model has 64; ask for at most 57 tokens"):
        run(llama, [row], max_new_tokens=58)
    assert len(run(llama, [row], max_new_tokens=57).clean.tokens) == 57
    with pytest.raises(InterventionError, match="no rows of edits"):
        run(llama, [])
    with pytest.raises(SettingError, match="batch_size must be at least 1"):
        generate(llama.model, llama.transcoders, llama.tokens, [row], batch_size=0)
    tokens: Tensor = llama.tokens[:-1]
    with pytest.raises(InterventionError, match="another prompt"):
        generate(llama.model, llama.transcoders, tokens, [row], clean=llama)
