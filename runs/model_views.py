"""How models, checks and builds are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.runs.embedded_build import BuildSummary
    from tracescribe.runs.model_check import CheckResult
    from tracescribe.runs.pair_fit import PairFit
    from tracescribe.tracer.reconstruction import Reconstruction


@dataclass(frozen=True)
class ModelAtHand:
    """A model that can be used without a download.

    Attributes:
        name: what `--model` takes.
        about: what it is, in a few words.
        path: its folder.
        transcoders: what `--transcoders` takes for it; empty where none ships.
    """

    name: str
    about: str
    path: str
    transcoders: str


def models_at_hand() -> tuple[ModelAtHand, ...]:
    """The embedded model, and the models of supported families in the local Hugging Face cache."""
    from tracescribe.tracer import embedded

    here = [
        ModelAtHand(
            embedded.MODEL_ID,
            "six tasks, 4 layers; trained to implement a known causal model",
            str(embedded.model_dir()),
            embedded.MODEL_ID,
        )
    ]
    return (*here, *_cached_models())


def _cached_models() -> list[ModelAtHand]:
    """Models in the hub's cache whose configuration names a supported family."""
    import json

    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from tracescribe.tracer.architectures import supported_families

    try:
        repositories = sorted(scan_cache_dir().repos, key=lambda repository: str(repository.repo_id))
    except CacheNotFound:
        return []
    found: list[ModelAtHand] = []
    for repository in repositories:
        for revision in repository.revisions:
            config = Path(revision.snapshot_path) / "config.json"
            try:
                family = json.loads(config.read_text(encoding="utf-8")).get("model_type")
            except (OSError, ValueError, AttributeError):
                continue
            if family in supported_families():
                found.append(
                    ModelAtHand(str(repository.repo_id), f"{family}, in the local cache", str(config.parent), "")
                )
    return found


def show_models(models: tuple[ModelAtHand, ...], as_json: bool) -> None:
    """Print the models at hand and the supported architectures."""
    from tracescribe.tracer.architectures import supported_families

    if as_json:
        terminal.print_json({"models": [asdict(model) for model in models], "architectures": supported_families()})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "what it is", "transcoders", "folder"):
        table.add_column(heading, overflow="fold")
    for model in models:
        table.add_row(*(terminal.styled(v) for v in (model.name, model.about, model.transcoders or "-", model.path)))
    console = terminal.stdout()
    console.print(table)
    console.print(f"Architectures that can be traced: {', '.join(supported_families())}")


def show_check(result: CheckResult, as_json: bool) -> None:
    """Print whether the set fits, how well it reconstructs, and the recomputed figures beside those of the card."""
    if as_json:
        terminal.print_json(result.to_json())
        return
    console = terminal.stdout()
    console.print(terminal.styled(f"{result.transcoders} fits {result.model}: {result.shapes}"))
    _show_fit(result.fit)
    if result.reconstruction is not None:
        _show_reconstruction(result.reconstruction)
    if result.figures:
        table = Table(box=None, pad_edge=False)
        table.add_column("figure", overflow="fold")
        table.add_column("card", justify="right")
        table.add_column("recomputed", justify="right")
        table.add_column("")
        for figure in result.figures:
            mark = terminal.styled("✓", "green") if figure.holds else terminal.styled("✗ differs", "bold red")
            table.add_row(terminal.styled(figure.name), f"{figure.card:.3f}", f"{figure.recomputed:.3f}", mark)
        console.print(table)
    console.print("The check passed." if result.passed else "The check failed: see the marked figures.")


def _show_fit(fit: PairFit) -> None:
    console = terminal.stdout()
    skips = f", skip paths in {len(fit.skips)} layers" if fit.skips else ""
    console.print(terminal.styled(f"  {fit.kind} ({fit.format}), reads {fit.reads}, writes {fit.writes}{skips}"))
    console.print(terminal.styled(f"  {fit.family}, {fit.n_parameters / 1e6:.1f} M parameters; {fit.checked} finite"))
    console.print(f"  hashes: model {fit.model_sha256[:12]}, transcoders {fit.transcoders_sha256[:12]}")
    for remark in fit.remarks:
        console.print(terminal.styled(f"  note: {remark}", "yellow"), soft_wrap=True)


def _show_reconstruction(found: Reconstruction) -> None:
    console = terminal.stdout()
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "features", "FVU", "cosine", "L0", "dead"):
        table.add_column(heading, justify="right")
    for layer in found.layers:
        fvu = "-" if layer.fvu is None else f"{layer.fvu:.4f}"
        figures = (f"{layer.cosine:.4f}", f"{layer.l0:.2f}", f"{100 * layer.dead:.1f} %")
        table.add_row(str(layer.layer), str(layer.n_features), fvu, *figures)
    console.print(table)
    console.print(f"{found.n_tokens} tokens in {found.n_windows} windows; FVU: fraction of variance unexplained")
    if found.replaced is not None:
        all_replaced = found.replaced
        line = f"all MLPs replaced: KL {all_replaced.kl:.4f} nats, same first choice {100 * all_replaced.top1_agreement:.1f} %"
        if all_replaced.loss is not None and all_replaced.loss_replaced is not None:
            line += f", loss {all_replaced.loss:.4f} -> {all_replaced.loss_replaced:.4f} nats"
        console.print(line)


def show_build(summary: BuildSummary, as_json: bool) -> None:
    """Print where a freshly trained model lies, and its headline figures."""
    if as_json:
        terminal.print_json(summary.to_json())
        return
    console = terminal.stdout()
    for name, path in summary.paths.items():
        console.print(terminal.styled(f"{name:<12} {path}"))
    for name, value in summary.figures.items():
        console.print(terminal.styled(f"{name:<40} {value:.3f}"))
