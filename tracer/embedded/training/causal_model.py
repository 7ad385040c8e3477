"""The high-level causal model of each task: its variables, where each one lives, and what follows when one is changed.

The embedded model is *trained to implement* this model by interchange interventions, so it serves twice: it gives the
training targets, and it is the gold circuit of every oracle case.

    states, countries    place word -> state | country (MLP 0)   relation word -> relation (MLP 0)    -> answer (MLP 2)
    antonyms             word -> meaning (MLP 0)   operation word -> operation (MLP 0)   language (MLP 1, last word)
    addition             numeral -> number (MLP 0), twice -> sum (MLP 1, last word)
    indirect_objects     repeated_name (MLP 1, at the second mention)
    people               sport, or `unknown` (MLP 1, at the last name)

Source: Geiger et al. 2022, "Inducing causal structure for interpretable neural networks"; Gupta et al. 2024,
"InterpBench: semi-synthetic transformers for evaluating mechanistic interpretability techniques".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.corpus import UNKNOWN_SPORT, Sample, opposite_pole, sample

ANSWER = "answer"
TOKEN = "token"
"""Variable name of a prompt word in a gold circuit."""
ANSWER_LAYER = 2


@dataclass(frozen=True)
class State:
    """Values of all variables of one prompt, the answer computed from the others."""

    task: str
    values: Mapping[str, str]
    answer: str


@dataclass(frozen=True)
class Site:
    """Home of one variable: the MLP of `layer` writes the value's code at the word that has `role`, and nowhere else."""

    layer: int
    role: str
    variable: str
    value: str

    @property
    def code(self) -> tuple[str, str]:
        """(variable, value) that names the code vector; both operands of a sum share theirs."""
        return code_name(self.variable, self.value)


def code_name(variable: str, value: str) -> tuple[str, str]:
    """Name of the code vector of a value: the two operands are the same variable in two places."""
    return ("number" if variable in ("a", "b") else variable, value)


_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "states": ("state", "relation"),
    "countries": ("country", "relation"),
    "antonyms": ("meaning", "operation", "language"),
    "addition": ("a", "b", "sum"),
    "indirect_objects": ("repeated_name", "other_name"),
    "people": ("sport",),
}


def state_of(drawn: Sample) -> State:
    """Variables of a sample as its words give them."""
    values = {name: drawn.value(name) for name in _VARIABLES[drawn.task] if name in drawn.latents}
    if drawn.task == "antonyms":
        values["language"] = drawn.value("language")
    if drawn.task == "addition":
        values["numerals"] = drawn.kind
    return _complete(drawn.task, values)


def _complete(task: str, values: dict[str, str]) -> State:
    """Compute the answer from the variables; nothing else of the prompt enters."""
    if task in ("states", "countries"):
        name = values["state" if task == "states" else "country"]
        places = world.STATES if task == "states" else world.COUNTRIES
        answer = places[name].attributes[values["relation"]] if "relation" in values else name
    elif task == "antonyms":
        concept, pole = values["meaning"][:-1], values["meaning"][-1]
        pole = pole if values["operation"] == "translation" else opposite_pole(pole)
        answer = world.LEXICON[concept, pole, values["language"]]
    elif task == "addition":
        numerals = world.NUMBER_WORDS if values["numerals"] == "word" else world.DIGITS
        answer = numerals[int(values["sum"])]
    elif task == "indirect_objects":
        answer = values["other_name"]
    else:
        answer = values["sport"]
    return State(task, MappingProxyType(values), answer)


def sites(drawn: Sample, state: State) -> tuple[Site, ...]:
    """Where each variable of a state lives in a prompt, the answer last; at most one value per (layer, role)."""
    roles, values = drawn.roles, state.values
    if drawn.task in ("states", "countries"):
        variable = "state" if drawn.task == "states" else "country"
        homes = [(0, "city" if "city" in roles else variable, variable)]
        homes += [(0, "relation", "relation")] if "relation" in values else []
    else:
        homes = {
            "antonyms": [(0, "word", "meaning"), (0, "operation", "operation"), (1, "final", "language")],
            "addition": [(0, "a", "a"), (0, "b", "b"), (1, "final", "sum")],
            "indirect_objects": [(1, "subject", "repeated_name")],
            "people": [(1, "last", "sport")],
        }[drawn.task]
    found = [Site(layer, role, variable, values[variable]) for layer, role, variable in homes]
    return (*found, Site(ANSWER_LAYER, "final", ANSWER, state.answer))


def domain(task: str, variable: str) -> tuple[str, ...]:
    """All values that a variable of a task can be set to (not `answer` and `repeated_name`, which depend on the text)."""
    if variable == "relation":
        return world.STATE_RELATIONS if task == "states" else world.COUNTRY_RELATIONS
    operands = tuple(str(number) for number in range(world.MAX_OPERAND + 1))
    return {
        "state": tuple(world.STATES),
        "country": tuple(world.COUNTRIES),
        "meaning": tuple(concept + pole for concept in world.CONCEPTS for pole in world.POLES),
        "operation": ("antonym", "translation"),
        "language": world.LANGUAGES,
        "a": operands,
        "b": operands,
        "sum": tuple(str(number) for number in range(2 * world.MAX_OPERAND + 1)),
        "sport": (*world.SPORTS, UNKNOWN_SPORT),
    }[variable]


def with_value(state: State, variable: str, value: str) -> State:
    """The state after one variable is set from outside: whatever depends on it follows, nothing else changes.

    Setting `answer` changes the answer alone. `repeated_name` can only become the other name of the sentence, which
    then becomes the one that is not repeated.

    Raises:
        KeyError: the task has no such variable.
        ValueError: the value is not one that the variable can take here.
    """
    if variable == ANSWER:
        return State(state.task, state.values, value)
    values = dict(state.values)
    old = values[variable]
    if variable == "repeated_name":
        if value not in (old, values["other_name"]):
            raise ValueError(f"repeated_name can be one of the sentence's two names, not {value!r}")
        if value != old:
            values["other_name"] = old
    elif value not in domain(state.task, variable):
        raise ValueError(f"{variable} cannot be {value!r} in task {state.task}")
    values[variable] = value
    if variable in ("a", "b"):
        values["sum"] = str(int(values["a"]) + int(values["b"]))
    return _complete(state.task, values)


def intervene(rng: random.Random, drawn: Sample, variable: str | None = None) -> tuple[Site, State]:
    """Set one variable of a prompt, drawn at random or named, to a random value.

    Returns:
        The variable's home in the *unchanged* prompt, and the state after the change.
    """
    state = state_of(drawn)
    options = [site for site in sites(drawn, state) if variable in (None, site.variable)]
    site = rng.choice(options)
    if site.variable == ANSWER:
        value = state_of(sample(rng, "any", drawn.task)).answer
    elif site.variable == "repeated_name":
        value = state.values["other_name"]
    else:
        value = rng.choice(domain(drawn.task, site.variable))
    return site, with_value(state, site.variable, value)


@dataclass(frozen=True)
class GoldNode:
    """A supernode of a gold circuit.

    Attributes:
        variable: name as in the codes (`number` for both operands), `answer`, or `token` for a prompt word.
        value: its value in this prompt.
        layer: MLP layer that writes it; -1 for a token.
        position: position in the prompt, `<bos>` being 0.
        told_by: positions of the words that determine the value.
    """

    variable: str
    value: str
    layer: int
    position: int
    told_by: tuple[int, ...] = ()


@dataclass(frozen=True)
class GoldEdge:
    """The source's value determines the target's value.

    Attributes:
        by_attention_pattern: the source acts on *where* attention looks, not on what it carries (which name to leave
            out), so a graph with frozen attention patterns cannot show the edge; interventions with live attention can.
    """

    source: GoldNode
    target: GoldNode
    by_attention_pattern: bool = False


@dataclass(frozen=True)
class GoldCircuit:
    """Supernodes and directed edges that are true of a prompt by construction."""

    nodes: tuple[GoldNode, ...]
    edges: tuple[GoldEdge, ...]


def _told_by(drawn: Sample, site: Site) -> tuple[int, ...]:
    roles = {
        "sum": ("a", "b"),
        "repeated_name": ("first_name", "second_name", "subject"),
        "sport": ("first", "last"),
        "language": (),  # every word of the sentence's frame shows it
        ANSWER: (),
    }.get(site.variable, (site.role,))
    return tuple(sorted({drawn.roles[role] for role in roles}))


def gold_circuit(drawn: Sample) -> GoldCircuit:
    """The gold circuit of a sample: words -> variables looked up from them -> answer, with the sum in between."""
    nodes: list[GoldNode] = []
    for site in sites(drawn, state_of(drawn)):
        variable, value = site.code
        nodes.append(GoldNode(variable, value, site.layer, drawn.roles[site.role], _told_by(drawn, site)))
    answer = nodes[-1]
    total = next((node for node in nodes if node.variable == "sum"), None)
    tokens: list[GoldNode] = []
    edges: list[GoldEdge] = []
    for node in nodes[:-1]:
        if node.layer == 0:  # looked up from the word itself; later variables are told through other positions
            tokens.append(GoldNode(TOKEN, drawn.words[node.position], -1, node.position))
            edges.append(GoldEdge(tokens[-1], node))
        target = total if total is not None and node.variable == "number" else answer
        edges.append(GoldEdge(node, target, by_attention_pattern=node.variable == "repeated_name"))
    return GoldCircuit((*tokens, *nodes), tuple(edges))
