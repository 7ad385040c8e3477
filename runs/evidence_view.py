"""How evidence is shown: contexts with the tokens marked by activation, never by colour alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tracescribe.runs.scanning import ScanSummary
    from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect

WEAK_SHARE = 0.25
"""Share of a feature's largest activation below which a token is marked as weakly active."""
UNKNOWN_TOKEN = -1
"""Token id of logit effects read from feature files, as `tracer.circuit_tracer_features` has it, which is not imported
at start-up."""
N_EFFECTS = 8
"""Tokens shown on each side of the logit effects."""


def show_feature(evidence: FeatureEvidence, n_contexts: int, as_json: bool) -> None:
    """Print one feature's evidence. Active tokens stand in [brackets], the strong ones in bold with their activation."""
    if as_json:
        told = asdict(evidence)
        told["contexts"] = told["contexts"][:n_contexts]
        for side in ("promoted", "suppressed"):
            told[side] = [effect._asdict() for effect in getattr(evidence, side)]
        terminal.print_json(told)
        return
    console = terminal.stdout()
    console.print(terminal.styled(f"feature {evidence.ref}", "bold"))
    if not evidence.n_active:
        console.print("It never fires in this corpus.")
        return
    console.print(f"fires on {_frequency(evidence)}, largest activation {evidence.max_activation:.3g}")
    console.print(terminal.styled(f"raises directly: {_effects(evidence.promoted)}"))
    console.print(terminal.styled(f"lowers directly: {_effects(evidence.suppressed)}"))
    console.print()
    for context in evidence.contexts[:n_contexts]:
        console.print(_marked(context, evidence.max_activation))


def show_scan(summary: ScanSummary, as_json: bool) -> None:
    """Print where a scan lies and what it covers."""
    if as_json:
        terminal.print_json(asdict(summary))
        return
    console = terminal.stdout()
    console.print(
        f"{summary.sentences} documents in {summary.windows} windows, {summary.tokens} tokens; "
        f"{summary.live_features} of {summary.features} features fire"
    )
    console.print(terminal.styled(f"evidence: {summary.folder}"), soft_wrap=True)


def show_export(n_files: int, folder: Path, as_json: bool) -> None:
    """Print how many feature files were written, and where to."""
    if as_json:
        terminal.print_json({"folder": str(folder), "files": n_files})
        return
    terminal.stdout().print(terminal.styled(f"{n_files} feature files: {folder}"), soft_wrap=True)


def _frequency(evidence: FeatureEvidence) -> str:
    """How often a feature fires. Feature files give the share of all tokens alone, and count those that they show."""
    if any(effect.token_id == UNKNOWN_TOKEN for effect in (*evidence.promoted, *evidence.suppressed)):
        return f"{100 * evidence.density:.3g} % of all tokens, {evidence.n_active} tokens in the file's contexts"
    return f"{evidence.n_active} tokens ({100 * evidence.density:.3g} % of all)"


def _effects(effects: Sequence[TokenEffect]) -> str:
    """Tokens with their effects; feature files give the tokens' order alone."""
    return ", ".join(
        effect.token.strip() if effect.token_id == UNKNOWN_TOKEN else f"{effect.token.strip()} {effect.effect:+.3g}"
        for effect in effects[:N_EFFECTS]
    )


def _marked(context: Context, largest: float) -> Text:
    """A context on one line, active tokens in brackets."""
    line = Text()
    line.append(f"{context.quantile:>7}  ", style="dim")
    for token, activation in zip(context.tokens, context.activations, strict=True):
        word = terminal.plain(token.strip())
        if activation <= 0:
            line.append(f"{word} ")
        elif activation < WEAK_SHARE * largest:
            line.append(f"[{word}] ", style="yellow")
        else:
            line.append(f"[{word} {activation:.3g}] ", style="bold green")
    return line
