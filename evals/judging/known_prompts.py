"""Prompts of which everything is known: their variables, the features that carry them, and prompts with other values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.evals.gold import GoldCircuit, GoldSet
from tracescribe.evals.oracle.building import DEFAULT_SEED, OracleSettings, draw_cases
from tracescribe.evals.oracle.cases import donors
from tracescribe.evals.oracle.homes import World, active_features, run_prompts
from tracescribe.tracer.embedded.training.causal_model import Site, sites, state_of, with_value
from tracescribe.tracer.embedded.training.corpus import Sample
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import FeatureNode

MAX_DONORS = 6
"""Other values of a variable that are looked at; some variables have two, others fifty."""
MIN_DONOR_PROBABILITY = 0.5
"""A donor counts only if the model answers it as the causal model does."""


@dataclass(frozen=True)
class KnownDonor:
    """A prompt that differs from another in one variable.

    Attributes:
        prompt: without BOS.
        value: of the variable there.
        answer: the model's answer to it, which the causal model foretells.
        active: every feature that fires there, at the donor's positions.
    """

    prompt: str
    value: str
    answer: str
    active: tuple[FeatureNode, ...]

    @property
    def at_last(self) -> tuple[FeatureNode, ...]:
        """What fires at its last word."""
        last = len(self.prompt.split())
        return tuple(node for node in self.active if node.position == last)

    def at(self, nodes: Sequence[FeatureNode], answer: int) -> tuple[FeatureNode, ...]:
        """What fires at the places of some features of another prompt, positions counted from the end.

        Args:
            nodes: of the other prompt.
            answer: position of its answer.
        """
        offset = answer - 1 - len(self.prompt.split())
        places = {(node.layer, node.position) for node in nodes}
        return tuple(node for node in self.active if (node.layer, node.position + offset) in places)


@dataclass(frozen=True)
class KnownVariable:
    """One variable of a prompt.

    Attributes:
        site: its home.
        gold_id: its supernode in the oracle gold.
        members: features that carry it; empty where the gold knows of none.
        donors: prompts with other values that ask for other answers.
    """

    site: Site
    gold_id: str
    members: tuple[FeatureNode, ...]
    donors: tuple[KnownDonor, ...]

    @property
    def concept(self) -> str:
        """`variable=value`, as the gold writes it."""
        return f"{self.site.variable}={self.site.value}"


@dataclass(frozen=True)
class KnownPrompt:
    """One prompt of the oracle.

    Attributes:
        gold: its circuit.
        sample: the prompt with everything that the corpus knows of it.
        active: every feature that fires.
        idle: those that carry nothing, by the gold.
        variables: in the order of the gold, the answer last.
    """

    gold: GoldCircuit
    sample: Sample
    active: tuple[FeatureNode, ...]
    idle: tuple[FeatureNode, ...]
    variables: tuple[KnownVariable, ...]

    @property
    def prompt(self) -> str:
        """Without BOS."""
        return self.sample.prompt

    @property
    def answer(self) -> str:
        """What the model says."""
        return self.sample.answer_word

    def variable_of(self, gold_id: str) -> KnownVariable | None:
        """The variable of a gold supernode."""
        return next((variable for variable in self.variables if variable.gold_id == gold_id), None)


def known_prompts(world: World, gold: GoldSet, count: int, seed: int) -> tuple[KnownPrompt, ...]:
    """Prompts of the oracle gold, one of every task in turn.

    Args:
        gold: the shipped oracle gold.
        count: how many.
        seed: which ones of each task, and which donors.

    Raises:
        GoldFormatError: the gold was not drawn from this corpus.
    """
    cases, _ = draw_cases(world, OracleSettings(seed=int(gold.built_with.get("seed", DEFAULT_SEED))))
    rng = random.Random(f"known prompts {seed}")
    by_task: dict[str, list[GoldCircuit]] = {}
    for circuit in gold.circuits:
        by_task.setdefault(circuit.family, []).append(circuit)
    for circuits in by_task.values():
        rng.shuffle(circuits)
    longest = max(map(len, by_task.values()))
    order = [circuits[n] for n in range(longest) for circuits in by_task.values() if n < len(circuits)]
    found: list[KnownPrompt] = []
    for circuit in order[:count]:
        case = cases.get(circuit.gold_id)
        if case is None or case.sample.prompt != circuit.prompt:
            raise GoldFormatError(
                f"oracle gold {circuit.gold_id}: the corpus draws another prompt than {circuit.prompt!r}; "
                "rebuild it with `tracescribe gold build`"
            )
        found.append(_known(world, circuit, case.sample, random.Random(f"{seed} {circuit.gold_id}")))
    return tuple(found)


def as_node(node_id: str) -> FeatureNode:
    """A feature node from its id, `{layer}_{feature}_{position}`."""
    layer, feature, position = (int(part) for part in node_id.split("_"))
    return FeatureNode(layer, position, feature)


def as_node_id(node: FeatureNode) -> str:
    """The id of a feature node in a graph."""
    return f"{node.layer}_{node.feature}_{node.position}"


def _known(world: World, gold: GoldCircuit, sample: Sample, rng: random.Random) -> KnownPrompt:
    runs = run_prompts(world, [sample])
    active = active_features(world, runs, 0)
    carrying = {*gold.selected, *gold.undecided}
    state = state_of(sample)
    variables = []
    for site, supernode in zip(sites(sample, state), gold.supernodes, strict=True):
        members = tuple(as_node(node) for node in supernode.members)
        values = donors(rng, sample, site.variable)
        chosen = rng.sample(sorted(values), min(MAX_DONORS, len(values)))
        wanted = [(v, values[v]) for v in chosen if with_value(state, site.variable, v).answer != sample.answer_word]
        variables.append(KnownVariable(site, supernode.supernode_id, members, _donors(world, wanted)))
    idle = tuple(node for node in active if as_node_id(node) not in carrying)
    return KnownPrompt(gold, sample, active, idle, tuple(variables))


def _donors(world: World, wanted: Sequence[tuple[str, Sample]]) -> tuple[KnownDonor, ...]:
    if not wanted:
        return ()
    runs = run_prompts(world, [sample for _, sample in wanted])
    return tuple(
        KnownDonor(sample.prompt, value, sample.answer_word, active_features(world, runs, row))
        for row, (value, sample) in enumerate(wanted)
        if float(runs.answer_probabilities(row)[world.ids_of[sample.answer_word]]) >= MIN_DONOR_PROBABILITY
    )
