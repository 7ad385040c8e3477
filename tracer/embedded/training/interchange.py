"""Interchange tests: does swapping only one latent's features give the donor's answer?

For a pair of prompts that differ in one variable, the features of the target's value are cleared and the features of
the donor's value are set to what they were in the donor's run; nothing else is touched and the whole model stays live.
The answer that must come out is computed by the causal model. Each swap has a matched random control: as many
features, of the same layers, with activations of similar size, at the same words.

Source: Geiger et al. 2021, "Causal abstractions of neural networks" (interchange interventions).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.causal_model import TOKEN, state_of, with_value
from tracescribe.tracer.embedded.training.corpus import Sample, draw
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
from tracescribe.tracer.embedded.training.latents import FeatureLatent
from tracescribe.tracer.embedded.training.tiny_llama import Run, TinyLlama
from tracescribe.tracer.embedded.training.tokens import encode, word_ids

# A control feature's usual activation may differ from the replaced one's by at most this factor.
_SIMILAR_SIZE = 2.0


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in one variable.

    Attributes:
        target, donor: the prompts.
        clear: (latent, value) whose features are cleared in the target.
        bring: (latent, value) whose features are brought from the donor.
        places: target position -> donor position at which features are swapped.
        expected: the answer after the change, by the causal model.
    """

    target: Sample
    donor: Sample
    clear: tuple[tuple[str, str], ...]
    bring: tuple[tuple[str, str], ...]
    places: Mapping[int, int]
    expected: str


@dataclass(frozen=True)
class _Test:
    """One interchange test: its task, variable, the latents that name the variable's features, and where to swap."""

    task: str
    variable: str
    latents: tuple[str, ...]
    roles: tuple[str, ...] = ()
    kind: str | None = None


_TESTS: Mapping[str, _Test] = {
    "state": _Test("states", "state", ("state",), kind="two_hop"),
    "relation": _Test("states", "relation", ("relation", TOKEN), kind="two_hop"),
    "country": _Test("countries", "country", ("country",), kind="two_hop"),
    "meaning": _Test("antonyms", "meaning", ("meaning",), kind="antonym"),
    "operation": _Test("antonyms", "operation", ("operation",), roles=("operation",), kind="antonym"),
    "language": _Test("antonyms", "language", ("language",), roles=("final",), kind="antonym"),
    "number": _Test("addition", "a", ("number",), roles=("a",)),
    "sum": _Test("addition", "sum", ("sum",)),
    "repeated_name": _Test("indirect_objects", "repeated_name", ("repeated_name",)),
    "sport": _Test("people", "sport", ("known", "sport")),
}
TESTS: tuple[str, ...] = tuple(_TESTS)


def _donor(rng: random.Random, test: _Test, target: Sample) -> Sample:
    value = {name: latent.value for name, latent in target.latents.items()}
    fixed = {"kind": target.kind, "template": target.template}
    if test.variable in ("state", "country"):
        table = world.STATES if test.variable == "state" else world.COUNTRIES
        fixed |= {"relation": value["relation"], test.variable: rng.choice(list(table))}
    elif test.variable == "relation":
        fixed |= {"state": value["state"], "city": value["city"], "relation": rng.choice(world.STATE_RELATIONS)}
    elif test.variable == "meaning":
        fixed |= {"input_language": value["input_language"], "language": value["language"]}
    elif test.task == "antonyms":  # another frame, hence no template; the word stays
        fixed = {"concept": value["concept"], "pole": value["meaning"][-1], "language": value["language"]}
        fixed |= {"kind": "translation"} if test.variable == "operation" else {"kind": target.kind}
        if test.variable == "language":
            fixed["language"] = rng.choice(world.LANGUAGES)
    elif test.task == "addition":
        fixed["b"] = value["b"]
    elif test.task == "indirect_objects":
        order = "repeated_first" if value["order"] == "other_first" else "other_first"  # both names keep their places
        fixed |= {"other_name": value["repeated_name"], "repeated_name": value["other_name"], "order": order}
    else:
        del fixed["kind"]
        fixed |= {"template": target.template}
        names = list(world.ATHLETES) if value["known"] == "no" else None
        first, last = rng.choice(names) if names else (rng.choice(world.FIRST_NAMES), rng.choice(world.LAST_NAMES))
        fixed |= {"first": first, "last": last}
    return draw(rng, test.task, fixed)


def _named(test: _Test, drawn: Sample) -> tuple[tuple[str, str], ...]:
    """(latent, value) pairs that name the variable's features in a prompt."""
    found = {name: latent.value for name, latent in drawn.latents.items()}
    found |= {"number": found.get("a", ""), TOKEN: found.get("relation", "")}
    return tuple((name, found[name]) for name in test.latents)


def draw_pairs(rng: random.Random, name: str, count: int) -> list[Pair]:
    """Draw prompt pairs for one test of `TESTS`; the donor's value always asks for another answer."""
    test, pairs = _TESTS[name], list[Pair]()
    while len(pairs) < count:
        target = draw(rng, test.task, {"kind": test.kind} if test.kind else None)
        donor = _donor(rng, test, target)
        state, brought = state_of(target), state_of(donor).values[test.variable]
        expected = with_value(state, test.variable, brought).answer
        if expected == state.answer:
            continue
        if test.roles:
            places = {target.roles[role]: donor.roles[role] for role in test.roles}
        else:
            places = {position: position for position in range(1, target.answer)}
        pairs.append(Pair(target, donor, _named(test, target), _named(test, donor), places, expected))
    return pairs


Feature = tuple[int, int]
"""(layer, index)."""


def group_features(labels: Sequence[FeatureLatent], min_f1: float) -> dict[tuple[str, str], list[Feature]]:
    """Features by the (latent, value) that they match best, at or above an F1."""
    groups: dict[tuple[str, str], list[Feature]] = {}
    for label in labels:
        if label.f1 >= min_f1:
            groups.setdefault((label.name, label.value), []).append((label.layer, label.index))
    return groups


@dataclass(frozen=True)
class SwapPlan:
    """For one prompt: activations to give to features.

    Attributes:
        values: (layer, target position, feature) -> activation that the feature is set to.
    """

    values: Mapping[tuple[int, int, int], float]


@dataclass(frozen=True)
class _Edit:
    """One pair's swap: which features to clear and to bring, and both prompts' activations [position, features]."""

    pair: Pair
    clear: list[Feature]
    bring: list[Feature]
    target: list[Tensor]
    donor: list[Tensor]


@dataclass(frozen=True)
class SwapOutcome:
    """Rates over pairs: the expected answer came out; the answer was no longer the old one."""

    flipped: float
    lost: float


@torch.no_grad()
def run_swaps(
    model: TinyLlama, transcoder: CrossLayerTranscoder, pairs: Sequence[Pair], plans: Sequence[SwapPlan]
) -> SwapOutcome:
    """Carry out one plan per pair with everything live, all pairs in one batch.

    The edit adds (value - activation in the running pass) times the decoder to every layer the feature writes to.
    """
    if not pairs:
        return SwapOutcome(0.0, 0.0)
    ids_of = word_ids()
    ids, answers = encode([pair.target for pair in pairs], ids_of)
    wanted = [torch.full((*ids.shape, size), float("nan")) for size in transcoder.sizes]
    for row, plan in enumerate(plans):
        for (layer, position, feature), value in plan.values.items():
            wanted[layer][row, position, feature] = value
    changes: dict[int, Tensor] = {}

    def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
        changes[layer] = torch.nan_to_num(wanted[layer] - transcoder.activations(layer, x))
        return own + transcoder.written(changes, layer)

    logits = model.run(ids, replace).logits[torch.arange(len(ids)), answers - 1]
    top = logits.argmax(-1)
    expected = torch.tensor([ids_of[pair.expected] for pair in pairs])
    old = torch.tensor([ids_of[pair.target.answer_word] for pair in pairs])
    return SwapOutcome(float((top == expected).float().mean()), float((top != old).float().mean()))


@dataclass(frozen=True)
class Interchange:
    """Outcome of one test.

    Attributes:
        pairs: pairs whose two prompts the model answers right; only these are tested.
        cleared, brought: mean number of features cleared and brought per pair.
        swap, control: outcomes of the groups and of the matched random groups.
        controls: pairs of the control, all its repetitions together.
    """

    pairs: int
    cleared: float
    brought: float
    swap: SwapOutcome
    control: SwapOutcome
    controls: int


class InterchangeRunner:
    """Runs interchange tests for one model, transcoder and set of labels."""

    def __init__(
        self, model: TinyLlama, transcoder: CrossLayerTranscoder, labels: Sequence[FeatureLatent], min_f1: float
    ) -> None:
        """`min_f1`: features of a value are those that match it best, at or above this F1."""
        self._model, self._transcoder = model, transcoder
        self._groups = group_features(labels, min_f1)
        self._live: dict[int, list[int]] = {}
        for label in labels:
            self._live.setdefault(label.layer, []).append(label.index)
        self._written = [
            decoder.flatten(1).norm(dim=1) * threshold
            for decoder, threshold in zip(transcoder.decoders, transcoder.thresholds, strict=True)
        ]

    def run(self, name: str, count: int, rng: random.Random, repetitions: int = 5) -> Interchange:
        """Draw pairs, swap, and swap matched random features `repetitions` times."""
        pairs = self._answered_right(draw_pairs(rng, name, count))
        targets, donors = (self._active([getattr(pair, side) for pair in pairs]) for side in ("target", "donor"))
        edits = list[_Edit]()
        for row, pair in enumerate(pairs):
            target, donor = [layer[row] for layer in targets], [layer[row] for layer in donors]
            clear = self._chosen(pair.clear, target, list(pair.places))
            bring = self._chosen(pair.bring, donor, list(pair.places.values()))
            edits.append(_Edit(pair, clear, bring, target, donor))
        controls = [self._control(edit, rng) for _ in range(repetitions) for edit in edits]
        return Interchange(
            len(pairs),
            sum(len(edit.clear) for edit in edits) / max(1, len(edits)),
            sum(len(edit.bring) for edit in edits) / max(1, len(edits)),
            run_swaps(self._model, self._transcoder, pairs, [_swap_plan(edit, {}) for edit in edits]),
            run_swaps(self._model, self._transcoder, pairs * repetitions, controls),
            len(controls),
        )

    @torch.no_grad()
    def _answered_right(self, pairs: list[Pair]) -> list[Pair]:
        ids_of, right = word_ids(), torch.ones(len(pairs), dtype=torch.bool)
        for side in ("target", "donor"):
            ids, answers = encode([getattr(pair, side) for pair in pairs], ids_of)
            rows = torch.arange(len(ids))
            top = self._model.run(ids).logits[rows, answers - 1].argmax(-1)
            right &= top == ids[rows, answers]
        return [pair for pair, good in zip(pairs, right.tolist(), strict=True) if good]

    @torch.no_grad()
    def _active(self, prompts: Sequence[Sample]) -> list[Tensor]:
        """Activations per layer [prompts, position, features]."""
        ids, _ = encode(prompts, word_ids())
        run: Run = self._model.run(ids)
        return [self._transcoder.activations(layer, x) for layer, x in enumerate(run.mlp_inputs)]

    def _chosen(
        self, named: Sequence[tuple[str, str]], active: Sequence[Tensor], positions: Sequence[int]
    ) -> list[Feature]:
        """Features of the named values that are active at some of the positions."""
        chosen: list[Feature] = []
        for latent in named:
            chosen += [
                (layer, index)
                for layer, index in self._groups.get(latent, [])
                if float(active[layer][positions, index].amax()) > 0
            ]
        return chosen

    def _control(self, edit: _Edit, rng: random.Random) -> SwapPlan:
        """As many random features of the same layers: other active ones to clear, others of similar size to set."""
        taken = {*edit.clear, *edit.bring}
        stand_in: dict[Feature, Feature | None] = {}
        for feature in (*edit.clear, *edit.bring):
            pool = [other for other in self._similar(feature) if other not in taken]
            if feature in edit.clear:
                places = list(edit.pair.places)
                pool = [(layer, index) for layer, index in pool if float(edit.target[layer][places, index].amax()) > 0]
            stand_in[feature] = rng.choice(pool) if pool else None
            taken |= {stand_in[feature] or feature}
        return _swap_plan(edit, stand_in)

    def _similar(self, feature: Feature) -> list[Feature]:
        """Live features of the layer that write, at their threshold, with a length similar to this one's."""
        layer, index = feature
        sizes = self._written[layer]
        low, high = float(sizes[index]) / _SIMILAR_SIZE, float(sizes[index]) * _SIMILAR_SIZE
        return [(layer, other) for other in self._live[layer] if low <= float(sizes[other]) <= high]


def _swap_plan(edit: _Edit, stand_in: Mapping[Feature, Feature | None]) -> SwapPlan:
    """The edit as activations; with stand-ins, their activations are set instead, to the same values."""
    values: dict[tuple[int, int, int], float] = {}
    for feature in edit.clear:
        chosen = stand_in.get(feature, feature)
        if chosen is not None:
            values |= {(chosen[0], place, chosen[1]): 0.0 for place in edit.pair.places}
    for feature in edit.bring:
        chosen = stand_in.get(feature, feature)
        if chosen is not None:
            for place, source in edit.pair.places.items():
                values[chosen[0], place, chosen[1]] = float(edit.donor[feature[0]][source, feature[1]])
    return SwapPlan(values)
