"""`tracescribe bench interventions`: many single-feature ablations, batched and one by one, and whether they agree.

Three ways: all rows in one call; one call for each row, sharing the clean run; and for each row a whole forward pass of
the bare Hugging Face model with the feature's decoder vectors taken away at their write points, which shares nothing
and uses none of the intervention code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import clock_of, time_alternating
from tracescribe.runs.benchmarks.tracing import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.module_hooks import Hook
    from tracescribe.tracer.transcoders import TranscoderSet

PROMPT = "the capital of the state containing Dallas is"
"""The best-known two-hop prompt, in the embedded model's vocabulary."""


def bench_interventions(
    n_rows: int = 64, *, prompt: str = PROMPT, threads: int = 1, repeats: int = 3, progress: Progress | None = None
) -> FigureBench:
    """Time ablations of active features on the embedded model; features are taken anew where there are too few.

    Args:
        n_rows: ablations, one feature each.
        prompt: in the embedded model's vocabulary.
        threads: torch threads.
        repeats: timed calls of each way.
        progress: called after each call.
    """
    import torch

    from tracescribe.tracer.clean_run import clean_run
    from tracescribe.tracer.edits import InterventionSettings, ablation
    from tracescribe.tracer.interventions import intervene
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded"), load_transcoders("embedded")
    tokens = model.encode(prompt)
    clean = clean_run(model, transcoders, tokens)
    active = active_features(model, transcoders, tokens)
    nodes = [active[i % len(active)] for i in range(n_rows)]
    rows = [ablation([node]) for node in nodes]
    settings = InterventionSettings()

    def batched() -> Tensor:
        return intervene(model, transcoders, tokens, rows, settings, batch_size=n_rows).logits[:, -1]

    def single() -> Tensor:
        calls = [intervene(model, transcoders, tokens, [row], settings, clean=clean) for row in rows]
        return torch.cat([call.logits[:, -1] for call in calls])

    def plain() -> Tensor:
        values = [clean.activation(node) for node in nodes]
        return torch.stack(
            [plain_ablation(model, transcoders, tokens, node, a) for node, a in zip(nodes, values, strict=True)]
        )

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
            }
        )
    return FigureBench(
        bench="interventions",
        settings={"n_rows": n_rows, "distinct_features": min(n_rows, len(active)), "tokens": len(tokens)},
        machine=describe_machine(threads),
        clock=clock,
        rows=tuple(found),
        notes=(
            "ratio: seconds divided by the batched call's, which makes its own clean run",
            "difference: of logits at the last position",
        ),
    )


def active_features(model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor) -> list[FeatureNode]:
    """Feature nodes that are active on a prompt."""
    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.local_replacement import replace_locally

    found = replace_locally(model, transcoders, tokens, model.zero_positions_of(tokens)).active.tolist()
    return [FeatureNode(*map(int, row)) for row in found]


def plain_ablation(
    model: LanguageModel, transcoders: TranscoderSet, tokens: Tensor, node: FeatureNode, activation: float
) -> Tensor:
    """Logits of the last position when one feature's clean contribution is taken away, `[vocab_size]`.

    One feature's edit changes nothing below it, so that its activation in the edited pass is the clean one and the
    ablation adds a constant vector at each of its write points.
    """
    import torch

    from tracescribe.tracer.module_hooks import hooked

    decoder = transcoders.decoder_rows(node.layer, torch.tensor([node.feature]))[0]

    def taken_away(vector: Tensor) -> Hook:
        def hook(x: Tensor | None, output: Any) -> Any:
            changed = output.clone()
            changed[0, node.position] -= activation * vector.to(output.dtype)
            return changed

        return hook

    blocks = model.architecture.blocks
    hooks: list[tuple[nn.Module, Hook]] = [
        (blocks[node.layer + k].write_modules[transcoders.writes], taken_away(vector))
        for k, vector in enumerate(decoder)
    ]
    with torch.no_grad(), hooked(hooks):
        logits = cast(Any, model.hf)(tokens[None].to(model.device), use_cache=False).logits
    return cast("Tensor", logits[0, -1])
