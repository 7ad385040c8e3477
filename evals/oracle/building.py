"""The oracle gold: circuits of the embedded model that are true by construction, and checked by intervention.

The embedded model was trained to implement a known causal model, so each prompt's variables, their homes and their edges
are known. Members are the features that write a variable's code into its home (`oracle_homes`); every predicted effect
is tried on the model and what was observed is recorded (`oracle_effects`). Nothing here is shared with the agents, and
not even the tracer: runs use the embedded model's own forward pass.

Source: Geiger et al. 2022, "Inducing causal structure for interpretable neural networks"; Gupta et al. 2024,
"InterpBench: semi-synthetic transformers for evaluating mechanistic interpretability techniques".
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tracescribe.evals.gold import GoldSet, check_stamp, read_gold
from tracescribe.tracer.errors import GoldFormatError, WorkError

if TYPE_CHECKING:
    from tracescribe.evals.gold import ModelStamp
    from tracescribe.evals.oracle.cases import OracleCase, Quota
    from tracescribe.evals.oracle.homes import World

DEFAULT_SEED = 7
"""Of the prompts and donors; differs from every seed of training, labelling and the card."""
MIN_ANSWER_PROBABILITY = 0.5
"""A prompt enters only if the model gives the right answer at least this much: gold explains what the model does."""
MAX_DRAWS = 200
"""Draws for one place in a quota before the build gives up: the model then fails at what it was trained for."""
_LICENCE = "Apache-2.0"
_ORIGIN = "the causal model that the embedded model was trained to implement, verified by interchange interventions"


class BuildProgress(Protocol):
    """Told how many circuits of how many are done."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`text` names the circuit."""
        ...


def _silent(done: int, total: int, text: str) -> None:
    """A `BuildProgress` that tells nobody."""


def oracle_path() -> Path:
    """The oracle gold that ships with the product."""
    return Path(str(resources.files("tracescribe.evals"))) / "data" / "embedded" / "oracle_gold.json"


def load_oracle_gold(*, check_weights: bool = True) -> GoldSet:
    """The shipped oracle gold.

    Args:
        check_weights: compare the weight hashes that it was made for with the installed embedded model.

    Raises:
        GoldFormatError: the file is missing or damaged, or belongs to other weights; the message says how to rebuild.
    """
    gold = read_gold(oracle_path())
    if check_weights and gold.circuits:
        stamp = embedded_stamp()
        check_stamp(gold.circuits[0], stamp.model_sha256, stamp.transcoder_sha256)
        if any(circuit.stamp != gold.circuits[0].stamp for circuit in gold.circuits):
            raise GoldFormatError(
                f"{oracle_path()}: its circuits carry different weight hashes; rebuild it with `tracescribe gold build`"
            )
    return gold


def embedded_stamp() -> ModelStamp:
    """Hashes of the installed embedded model and transcoder, as graphs and reports carry them."""
    from tracescribe.evals.gold import ModelStamp
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    return ModelStamp(
        model=model.model_id,
        model_sha256=model.weights_sha256,
        transcoder=transcoders.transcoder_id,
        transcoder_sha256=transcoders.sha256,
    )


@dataclass(frozen=True)
class OracleSettings:
    """How much oracle gold is built.

    Attributes:
        seed: of prompts and donors.
        tasks: tasks to draw from; empty for all.
        per_quota: most prompts of each sort; None for what `cases.QUOTAS` and `cases.SECOND_QUOTAS` say.
        every: of the cases that are drawn, build the first and every so manyth; 1 for all.
    """

    seed: int = DEFAULT_SEED
    tasks: tuple[str, ...] = ()
    per_quota: int | None = None
    every: int = 1


def build_oracle_gold(
    settings: OracleSettings | None = None,
    *,
    out: Path | None = None,
    progress: BuildProgress = _silent,
) -> GoldSet:
    """Build the oracle gold of the installed embedded model, and write it.

    Args:
        settings: None builds the whole set.
        out: file to write; None writes nothing. `oracle_path()` is where the product looks for it.
        progress: told after every circuit.

    Raises:
        WorkError: the model does not answer enough prompts of some sort right.
        OutputError: the file cannot be written.
    """
    from tracescribe.evals.oracle.circuit import CircuitBuilder
    from tracescribe.tracer import embedded
    from tracescribe.tracer.provenance import version, write_text_atomic

    settings = settings or OracleSettings()
    world, stamp = load_world(embedded.model_dir(), embedded.transcoder_dir()), embedded_stamp()
    cases, refused = draw_cases(world, settings)
    cases = dict(list(cases.items())[:: settings.every])
    builder = CircuitBuilder(world, stamp, _ORIGIN, _LICENCE)
    circuits = []
    for number, (gold_id, case) in enumerate(cases.items(), start=1):
        circuits.append(builder.build(gold_id, case, random.Random(f"{settings.seed} {gold_id}")))
        progress(number, len(cases), gold_id)
    built_with: dict[str, str | int | float] = {"product_version": version(), "seed": settings.seed}
    built_with["prompts_refused"] = refused
    gold = GoldSet(name="embedded oracle", built_with=built_with, circuits=tuple(circuits))
    if out is not None:
        write_text_atomic(out, dump_gold(gold))
    return gold


def dump_gold(gold: GoldSet) -> str:
    """A gold set as JSON text: one circuit a line, so that a change of one circuit is a change of one line."""
    import json

    head = gold.model_dump(mode="json", exclude={"circuits"})
    lines = [circuit.model_dump_json(exclude_defaults=False) for circuit in gold.circuits]
    return json.dumps(head, indent=1)[:-2] + ',\n "circuits": [\n' + ",\n".join(lines) + "\n]}\n"


def load_world(model_dir: Path, transcoder_dir: Path) -> World:
    """The embedded model and transcoder from their folders.

    Raises:
        InputError: a folder that cannot be read.
    """
    from tracescribe.evals.oracle.homes import World
    from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
    from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama

    model = TinyLlama.load(model_dir)
    return World.of(model, CrossLayerTranscoder.load(transcoder_dir, model.n_layers))


def draw_cases(world: World, settings: OracleSettings) -> tuple[Mapping[str, OracleCase], int]:
    """Draw the prompts: distinct, and answered right.

    Returns:
        Cases by gold id, and how many prompts were refused because the model answers them wrongly.

    Raises:
        WorkError: a sort of prompt of which the model hardly answers any.
    """
    from tracescribe.evals.oracle.cases import QUOTAS, SECOND_DRAW, SECOND_QUOTAS, candidate_cases, first_case
    from tracescribe.evals.oracle.homes import run_prompts

    cases: dict[str, OracleCase] = {}
    prompts: set[str] = set()
    refused = 0

    def try_case(case: OracleCase, *tags: str) -> bool:
        nonlocal refused
        drawn = case.sample
        if drawn.prompt in prompts:
            return False
        probability = run_prompts(world, [drawn]).answer_probabilities(0)[world.ids_of[drawn.answer_word]]
        if float(probability) < MIN_ANSWER_PROBABILITY:
            refused += 1
            return False
        prompts.add(drawn.prompt)
        number = sum(other.sample.task == drawn.task for other in cases.values()) + 1
        cases[f"{drawn.task.replace('_', '-')}-{number:02d}"] = replace(case, tags=(*case.tags, *tags))
        return True

    def draw_quotas(rng: random.Random, task: str, quotas: Iterable[Quota], *tags: str) -> None:
        for quota in quotas:
            wanted = quota.count if settings.per_quota is None else min(quota.count, settings.per_quota)
            for _ in range(wanted):
                if not any(try_case(candidate_cases(rng, task, quota), *tags) for _ in range(MAX_DRAWS)):
                    raise WorkError(
                        f"oracle gold: of {MAX_DRAWS} {quota.split} prompts of sort {quota.trap or quota.kind!r} in task "
                        f"{task!r} the model answers none that is new; train the embedded model again"
                    )

    rng = random.Random(settings.seed)
    tasks = settings.tasks or tuple(QUOTAS)
    for task in tasks:
        if task == "states":
            try_case(first_case(rng))
        draw_quotas(rng, task, QUOTAS[task])
    for task in tasks:  # by their own generators, so that the first draw stays what it was
        draw_quotas(random.Random(f"{settings.seed} {SECOND_DRAW} {task}"), task, SECOND_QUOTAS[task], SECOND_DRAW)
    return cases, refused
