"""A live intervention gives the numbers of `tracescribe intervene`, to the last digit; controls and doses fit them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tracescribe.runs.web.live_requests import LiveRequest, LiveSubject, LiveWeights
from tracescribe.runs.web.live_running import LoadedWeights, OtherWeightsError, run_live
from tracescribe.tracer.errors import InputError, InterventionError, PromptError, UnknownIdError

DALLAS = "the capital of the state containing Dallas is"
STOWE = "the capital of the state containing Stowe is"
STATE, SAY = "0_86_7", "2_55_8"
"""Of the embedded model's circuit for the prompt: the features for Texas, and for saying Austin."""


@pytest.fixture(scope="module")
def loaded() -> LoadedWeights:
    """The embedded model, as a live process loads it."""
    return LoadedWeights(LiveWeights(model="embedded", transcoders="embedded", evidence="embedded"))


@pytest.fixture(scope="module")
def subject(loaded: LoadedWeights) -> LiveSubject:
    """The best-known prompt."""
    model, transcoders = loaded.hashes
    return LiveSubject(prompt=DALLAS, n_tokens=9, token="Austin", model_sha256=model, transcoders_sha256=transcoders)


@pytest.mark.parametrize(
    "asked",
    [
        {"act": "ablate", "nodes": [STATE], "controls": 20, "doses": [0, 1]},
        {"act": "scale", "nodes": [STATE, SAY], "multiplier": -1.3, "mode": "constrained"},
        {"act": "scale", "nodes": [SAY], "multiplier": 1e-7, "mode": "direct"},
        {"act": "ablate", "nodes": [SAY, STATE], "freeze_attention": True},
        {"act": "swap", "nodes": [SAY], "donor_prompt": STOWE},
        {"act": "swap", "nodes": [SAY, STATE], "donor_prompt": STOWE, "swap": "features"},
    ],
)
def test_the_command_in_the_answer_gives_the_same_numbers(
    loaded: LoadedWeights, subject: LiveSubject, run: Callable[..., Any], asked: dict[str, Any]
) -> None:
    found = run_live(loaded, LiveRequest.model_validate(asked), subject)
    program, *words = shlex.split(found.command)
    done = run(*words, "--json").json
    assert program == "tracescribe"
    assert [row.model_dump() for row in found.tokens] == done["tokens"]
    assert [row.model_dump() for row in found.edits] == done["edits"]
    assert (found.answer_before, found.answer_after) == (done["answer_before"], done["answer_after"])
    assert len(found.tokens) == 10


def test_controls_tell_an_effect_from_chance(loaded: LoadedWeights, subject: LiveSubject) -> None:
    asked = LiveRequest(act="ablate", nodes=(STATE,), controls=60, direction="down")
    found = run_live(loaded, asked, subject)
    assert found.controls is not None and found.controls.plot is not None
    drop = np.log(found.target.before) - np.log(found.target.after)
    assert found.controls.effect == pytest.approx(drop, rel=1e-9)
    assert found.controls.direction == "down" and len(found.controls.effects) == 60
    assert found.controls.rank == 1 and found.controls.p_value == pytest.approx(1 / 61)
    assert len(found.controls.plot.dots) == 60
    again = run_live(loaded, asked, subject)
    assert again.controls == found.controls
    other = run_live(loaded, asked.model_copy(update={"seed": 1}), subject)
    assert other.controls is not None and other.controls.effects != found.controls.effects
    # the other way round it is the least of all effects
    rising = run_live(loaded, asked.model_copy(update={"direction": "up"}), subject)
    assert rising.controls is not None and rising.controls.effect == -found.controls.effect
    assert rising.controls.p_value == 1.0


def test_where_nothing_is_expected_effects_are_compared_by_size(loaded: LoadedWeights, subject: LiveSubject) -> None:
    asked = LiveRequest(act="scale", nodes=(SAY,), multiplier=-1.5, token="Sacramento", controls=60)
    found = run_live(loaded, asked, subject)
    assert found.controls is not None and found.controls.plot is not None
    assert found.target.after > found.target.before and found.controls.direction == "either"
    assert found.controls.effect == pytest.approx(np.log(found.target.after) - np.log(found.target.before), rel=1e-9)
    reached = sum(abs(value) >= found.controls.effect for value in found.controls.effects)
    assert found.controls.rank == 1 + reached
    assert found.controls.p_value == pytest.approx((1 + reached) / 61)
    assert found.controls.plot.description.endswith(f"{reached} of 60 control sets did as much or more, up or down")
    # a fall is as large as its size, too
    falls = run_live(loaded, LiveRequest(act="ablate", nodes=(STATE,), controls=60), subject).controls
    assert falls is not None and falls.effect < 0 and falls.rank == 1


def test_doses_end_where_single_interventions_do(loaded: LoadedWeights, subject: LiveSubject) -> None:
    asked = LiveRequest(act="scale", nodes=(STATE,), multiplier=2.0, doses=(2.0, 0.0, 1.0, 2.0))
    found = run_live(loaded, asked, subject)
    assert [row.multiplier for row in found.doses] == [0.0, 1.0, 2.0]
    off = run_live(loaded, LiveRequest(act="ablate", nodes=(STATE,)), subject)
    assert [row.probability for row in found.doses] == pytest.approx(
        [off.target.after, found.target.before, found.target.after], rel=1e-4
    )


def test_a_swap_is_measured_by_the_donors_answer(loaded: LoadedWeights, subject: LiveSubject) -> None:
    found = run_live(loaded, LiveRequest(act="swap", nodes=(SAY,), donor_prompt=STOWE, controls=20), subject)
    assert found.target.token == found.answer_after == "Montpelier"
    assert found.controls is not None and found.controls.direction == "either" and found.controls.rank == 1
    chosen = LiveRequest(act="swap", nodes=(SAY,), donor_prompt=STOWE, token="Austin", direction="down")
    assert run_live(loaded, chosen, subject).target.token == "Austin"


def test_silent_features_change_nothing_and_say_so(loaded: LoadedWeights, subject: LiveSubject) -> None:
    found = run_live(loaded, LiveRequest(act="ablate", nodes=("0_86_3",), controls=20), subject)
    assert found.controls is not None and found.controls.effects == () and found.controls.plot is None
    assert "silent" in found.controls.note and found.controls.p_value == 1.0
    assert found.target.before == pytest.approx(found.target.after, rel=1e-6)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"act": "ablate", "nodes": ["9_86_7"]}, UnknownIdError),
        ({"act": "ablate", "nodes": ["0_999999999_7"]}, UnknownIdError),
        ({"act": "ablate", "nodes": ["0_86_9"]}, InputError),
        ({"act": "ablate", "nodes": ["0_86_0"]}, InterventionError),
        ({"act": "ablate", "nodes": [STATE], "token": "<script>"}, UnknownIdError),
        ({"act": "swap", "nodes": [SAY], "donor_prompt": "<img src=x onerror=alert(1)> is"}, PromptError),
        ({"act": "swap", "nodes": [SAY], "donor_prompt": "the capital is"}, InputError),
        ({"act": "swap", "nodes": [SAY], "donor_prompt": "\n\t "}, PromptError),
        ({"act": "swap", "nodes": [SAY], "donor_prompt": "--model /etc/passwd"}, PromptError),
    ],
)
def test_what_the_model_does_not_have_is_told(
    loaded: LoadedWeights, subject: LiveSubject, asked: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_live(loaded, LiveRequest.model_validate(asked), subject)


def test_other_weights_and_changed_prompts_are_refused(loaded: LoadedWeights, subject: LiveSubject) -> None:
    asked = LiveRequest(act="ablate", nodes=(STATE,))
    with pytest.raises(OtherWeightsError, match="serve with"):
        run_live(loaded, asked, subject.model_copy(update={"model_sha256": "0" * 64}))
    with pytest.raises(PromptError, match="9 tokens"):
        run_live(loaded, asked, subject.model_copy(update={"n_tokens": 8}))


@pytest.mark.parametrize(
    "asked",
    [
        {"act": "ablate", "nodes": []},
        {"act": "ablate", "nodes": ["0_86_7; rm -rf"]},
        {"act": "ablate", "nodes": ["٣_1_1"]},
        {"act": "ablate", "nodes": [STATE] * 501},
        {"act": "ablate", "nodes": [STATE], "multiplier": 2},
        {"act": "scale", "nodes": [STATE]},
        {"act": "scale", "nodes": [STATE], "multiplier": float("nan")},
        {"act": "scale", "nodes": [STATE], "multiplier": 1e9},
        {"act": "swap", "nodes": [STATE]},
        {"act": "swap", "nodes": [STATE], "donor_prompt": "x" * 4001},
        {"act": "swap", "nodes": [STATE], "donor_prompt": STOWE, "doses": [1]},
        {"act": "ablate", "nodes": [STATE], "controls": 201},
        {"act": "ablate", "nodes": [STATE], "doses": [0.0] * 34},
        {"act": "ablate", "nodes": [STATE], "mode": "direct", "freeze_attention": True},
        {"act": "ablate", "nodes": [STATE], "model": "/etc"},
        {"act": "ablate", "nodes": [STATE], "transcoders": "embedded"},
        {"act": "delete", "nodes": [STATE]},
    ],
)
def test_requests_have_limits_and_name_no_weights(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LiveRequest.model_validate(asked)
