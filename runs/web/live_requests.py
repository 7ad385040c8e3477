"""What a visitor may ask of the live panel, and what comes back; also what passes between server and live process."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from tracescribe.runs.intervening import InterventionRequest, Mode
from tracescribe.runs.strict_models import StrictModel
from tracescribe.runs.written_edits import WrittenEdits

MAX_NODES = 500
MAX_CONTROLS = 200
MAX_DOSES = 33
MAX_PROMPT = 4000
"""Characters of a donor prompt."""
LARGEST_MULTIPLIER = 20.0
TOP = 10
"""Tokens shown where nobody says how many; the command line shows fewer unless it is told."""
_NODE = re.compile(r"([0-9]{1,6})_([0-9]{1,9})_([0-9]{1,6})")

Multiplier = Annotated[float, Field(ge=-LARGEST_MULTIPLIER, le=LARGEST_MULTIPLIER, allow_inf_nan=False)]
FeatureNodeId = Annotated[str, StringConstraints(max_length=24, pattern=r"^[0-9]{1,6}_[0-9]{1,9}_[0-9]{1,6}$")]
"""`LAYER_FEATURE_POSITION`, as graphs name feature nodes."""


class LiveRequest(StrictModel):
    """An intervention on a report's prompt.

    Attributes:
        nodes: feature nodes that are changed together, such as a supernode's members.
        act: `ablate` sets them to 0, `scale` multiplies them, `swap` puts a donor prompt's activations in.
        multiplier: for `scale`, and only for it.
        donor_prompt: for `swap`, and only for it; as many tokens as the report's prompt.
        swap: `places`: all features at the layers and positions of the nodes become the donor's; `features`: the nodes
            alone do.
        mode: how the rest of the model reacts.
        token: whose probability the controls and doses are measured by; None takes the model's answer, of a swap the
            donor's.
        direction: what is expected of it; None expects nothing, and compares with controls by size, up or down.
        controls: matched random interventions to compare with.
        doses: multipliers of a dose curve; not for swaps.
        seed: of the controls.
    """

    nodes: tuple[FeatureNodeId, ...] = Field(min_length=1, max_length=MAX_NODES, fail_fast=True)
    act: Literal["ablate", "scale", "swap"]
    multiplier: Multiplier | None = None
    donor_prompt: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT)] | None = None
    swap: Literal["places", "features"] = "places"
    mode: Mode = "open"
    freeze_attention: bool = False
    token: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    direction: Literal["down", "up"] | None = None
    controls: int = Field(default=0, ge=0, le=MAX_CONTROLS)
    doses: tuple[Multiplier, ...] = Field(default=(), max_length=MAX_DOSES, fail_fast=True)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    top: int = Field(default=TOP, ge=1, le=50)

    @model_validator(mode="after")
    def _belongs_together(self) -> LiveRequest:
        if (self.act == "scale") != (self.multiplier is not None):
            raise ValueError("a multiplier belongs to the act 'scale', and 'scale' needs one")
        if (self.act == "swap") != (self.donor_prompt is not None):
            raise ValueError("a donor prompt belongs to the act 'swap', and 'swap' needs one")
        if self.act == "swap" and self.doses:
            raise ValueError("a swap has no doses; leave them out, or scale instead")
        if self.freeze_attention and self.mode != "open":
            raise ValueError(f"freeze_attention belongs to mode 'open'; mode '{self.mode}' always freezes attention")
        return self


class LiveWeights(StrictModel):
    """Which weights a live process loads: fixed when the server starts, never by a request.

    Attributes:
        model, transcoders, evidence: names or folders.
        shown: model and transcoders as visitors are told of them; None for as they are.
    """

    model: str
    transcoders: str
    evidence: str | None
    shown: tuple[str, str] | None = None


class LiveSubject(StrictModel):
    """What the server knows of the report that is asked about.

    Attributes:
        n_tokens: of the prompt, as the report's graph has them.
        token: the report's first target.
    """

    prompt: str
    n_tokens: int
    token: str | None
    model_sha256: str
    transcoders_sha256: str


class TokenRow(StrictModel):
    """One output token before and after; rank 1 is the most probable."""

    token: str
    before: float
    after: float
    rank_before: int
    rank_after: int
    logit_before: float
    logit_after: float


class EditRow(StrictModel):
    """What was changed at one place: a feature's activation before and after."""

    feature: str
    position: int
    token: str
    before: float
    after: float


class StripGeometry(StrictModel):
    """The strip plot of controls in a field of 280 x 74 pixels, as claims have it (`agents.rendering.strip_plot`)."""

    dots: tuple[tuple[float, float], ...]
    effect_x: float
    zero_x: float
    effect_label_x: float
    effect_text: str
    description: str


class ControlRow(StrictModel):
    """The effect against matched random interventions.

    Attributes:
        direction: that was expected; `either` where nothing was.
        effect: change of the log-probability of the token in nats, in the expected direction; as it is where none was
            expected: above zero is a rise.
        effects: of the controls.
        rank: 1 where no control did as much.
        p_value: (1 + controls with at least this effect) / (1 + controls); of `either`, with at least its size.
        note: why there are fewer than were asked for; empty where there are not.
    """

    token: str
    direction: Literal["down", "up", "either"]
    effect: float
    effects: tuple[float, ...]
    rank: int
    p_value: float
    matched_on: tuple[str, ...]
    seed: int
    note: str
    plot: StripGeometry | None


class DoseRow(StrictModel):
    """One point of a dose curve: the token's probability and log-probability at a multiplier."""

    multiplier: float
    probability: float
    log_probability: float


class LiveResult(StrictModel):
    """What an intervention did.

    Attributes:
        target: the token that is measured; it may stand in `tokens` too.
        command: runs the same on a terminal, and gives the same numbers.
        seconds: the model took.
        waited: seconds in the queue, the loading of the model included.
    """

    request: LiveRequest
    prompt: str
    answer_before: str
    answer_after: str
    target: TokenRow
    tokens: tuple[TokenRow, ...]
    edits: tuple[EditRow, ...]
    controls: ControlRow | None
    doses: tuple[DoseRow, ...]
    command: str
    seconds: float
    waited: float = 0.0


def node_of(node_id: str) -> tuple[int, int, int]:
    """Layer, feature and position of a feature node's id."""
    found = _NODE.fullmatch(node_id)
    assert found is not None, "the request was validated"
    return int(found[1]), int(found[2]), int(found[3])


def as_command_request(asked: LiveRequest, prompt: str, model: str, transcoders: str) -> InterventionRequest:
    """The same intervention as `tracescribe intervene` has it."""
    nodes = [node_of(node) for node in dict.fromkeys(asked.nodes)]
    sites = ",".join(f"{layer}/{feature}@{position}" for layer, feature, position in nodes)
    if asked.act == "ablate":
        edits = WrittenEdits(ablate=(sites,))
    elif asked.act == "scale":
        edits = WrittenEdits(scale=(f"{sites}={asked.multiplier!r}",))
    else:
        places = sorted({(layer, position) for layer, _, position in nodes})
        where = tuple(f"{layer}@{position}" for layer, position in places)
        edits = WrittenEdits(
            swap_from=asked.donor_prompt, swap=where if asked.swap == "places" else tuple(sites.split(","))
        )
    return InterventionRequest(
        prompt=prompt,
        model=model,
        transcoders=transcoders,
        edits=edits,
        mode=asked.mode,
        freeze_attention=asked.freeze_attention,
        top=asked.top,
    )


def command_line(request: InterventionRequest) -> str:
    """The call of `tracescribe intervene` that does the same."""
    words = ["tracescribe", "intervene", "--prompt", request.prompt]
    words += ["--model", request.model, "--transcoders", request.transcoders] if request.model != "embedded" else []
    for option, values in (("--ablate", request.edits.ablate), ("--scale", request.edits.scale)):
        words += [word for value in values for word in (option, value)]
    if request.edits.swap_from is not None:
        words += ["--swap-from", request.edits.swap_from]
        words += [word for value in request.edits.swap for word in ("--swap", value)]
    words += ["--mode", request.mode] if request.mode != "open" else []
    words += ["--freeze-attention"] if request.freeze_attention else []
    return shlex.join([*words, "--top", str(request.top)])
