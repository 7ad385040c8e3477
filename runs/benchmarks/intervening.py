"""`tracescribe bench interventions`: many single-feature edits, batched and one by one, and whether they agree.

Active features are ablated; where the prompt has too few of them, others are switched on. Three ways: all rows in one
call; one call for each row (both share one clean run); and for each row a whole forward pass of the bare Hugging Face
model with a multiple of the feature's decoder vectors added at their write points, which shares nothing and uses none of
the intervention code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import clock_of, time_alternating
from tracescribe.runs.benchmarks.tracing import Progress
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import FeatureEdit
    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.module_hooks import Hook
    from tracescribe.tracer.transcoders import TranscoderSet

SWITCHED_ON = 1.0
"""Activation to which an inactive feature is set: about what active ones of the embedded model have."""

PROMPT = "the capital of the state containing Dallas is"
"""The best-known two-hop prompt, in the embedded model's vocabulary."""


def bench_interventions(
    n_rows: int = 64, *, prompt: str = PROMPT, threads: int = 1, repeats: int = 3, progress: Progress | None = None
) -> FigureBench:
    """Time single-feature edits on the embedded model.

    Args:
        n_rows: edits, one feature each, all of different features or positions.
        prompt: in the embedded model's vocabulary.
        threads: torch threads.
        repeats: timed calls of each way.
        progress: called after each call.
    """
    import torch

    from tracescribe.tracer.clean_run import clean_run
    from tracescribe.tracer.edits import InterventionSettings
    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.interventions import intervene
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    tokens = model.encode(prompt)
    clean = clean_run(model, transcoders, tokens)
    edits = single_edits(clean, n_rows)
    rows = [[edit] for edit in edits]
    nodes = [FeatureNode(edit.layer, int(cast(int, edit.position)), edit.feature) for edit in edits]
    amounts = [(node, edit.value - clean.activation(node)) for node, edit in zip(nodes, edits, strict=True)]
    settings = InterventionSettings()

    def batched() -> Tensor:
        return intervene(model, transcoders, tokens, rows, settings, batch_size=n_rows, clean=clean).logits[:, -1]

    def single() -> Tensor:
        calls = [intervene(model, transcoders, tokens, [row], settings, clean=clean) for row in rows]
        return torch.cat([call.logits[:, -1] for call in calls])

    def plain() -> Tensor:
        return torch.stack([plain_edit(model, transcoders, tokens, node, amount) for node, amount in amounts])

    with use_threads(threads):
        timings = time_alternating(
            {"batched": batched, "one call each": single, "whole forward passes": plain},
            repeats,
            None if progress is None else lambda done, total: progress("interventions", done, total, ""),
        )
        together, expected = batched(), {"one call each": single(), "whole forward passes": plain()}
    clock = clock_of(threads)
    ours = timings["batched"].median(clock)
    found: list[dict[str, Figure]] = []
    for name, timing in timings.items():
        other = expected.get(name, together)
        found.append(
            {
                "way": name,
                "rows": n_rows,
                "seconds": timing.median(clock),
                "ratio": timing.median(clock) / ours,
                "largest_difference": float((other - together).abs().max()),
                "relative_difference": float((other - together).abs().max() / other.abs().max()),
            }
        )
    return FigureBench(
        bench="interventions",
        settings={"n_rows": n_rows, "ablations": sum(not edit.value for edit in edits), "tokens": len(tokens)},
        machine=describe_machine(threads),
        clock=clock,
        rows=tuple(found),
        notes=(
            "ratio: seconds divided by the batched call's; calls of intervene share one clean run",
            "difference: of logits at the last position, and relative to the largest of them",
        ),
    )


def single_edits(clean: CleanRun, n_rows: int) -> list[FeatureEdit]:
    """Ablations of active features, then inactive ones switched on, spread evenly over layers, positions and features.

    Raises:
        SettingError: the prompt has fewer features times positions than rows are wanted.
    """
    from tracescribe.tracer.edits import FeatureEdit

    first = clean.masked(None)
    found: list[FeatureEdit] = []
    others: list[FeatureEdit] = []
    for layer in range(clean.transcoders.n_layers):
        acts = clean.activations(layer)
        for position in range(first, clean.n_pos):
            for feature, value in enumerate(acts[position].tolist()):
                to = found if value else others
                to.append(FeatureEdit(layer, position, feature, 0.0 if value else SWITCHED_ON))
    found = found[:n_rows]
    wanted = n_rows - len(found)
    if wanted > len(others):
        raise SettingError(
            f"{n_rows} edits of single features are wanted, but the prompt has {len(found) + len(others)}"
        )
    step = len(others) // max(1, wanted)
    return found + others[::step][:wanted] if wanted else found


def plain_edit(
    model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor, node: FeatureNode, amount: float
) -> Tensor:
    """Logits of the last position when a multiple of one feature's decoder vectors is added, `[vocab_size]`.

    One feature's edit changes nothing below it, so that its activation in the edited pass is the clean one, and setting
    it adds a constant vector at each of its write points.
    """
    import torch

    from tracescribe.tracer.module_hooks import hooked

    decoder = transcoders.decoder_rows(node.layer, torch.tensor([node.feature]))[0]

    def added(vector: Tensor) -> Hook:
        def hook(x: Tensor | None, output: Any) -> Any:
            changed = output.clone()
            changed[0, node.position] += amount * vector.to(output.dtype)
            return changed

        return hook

    blocks = model.architecture.blocks
    hooks: list[tuple[nn.Module, Hook]] = [
        (blocks[node.layer + k].write_modules[transcoders.writes], added(vector)) for k, vector in enumerate(decoder)
    ]
    with torch.no_grad(), hooked(hooks):
        logits = cast(Any, model.hf)(tokens[None].to(model.device), use_cache=False).logits
    return cast("Tensor", logits[0, -1])
