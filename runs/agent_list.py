"""Agents and styles in a line each, the drawing of their loop, and sums over a record of calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tracescribe.runs.workspace import prepare_file
from tracescribe.tracer.provenance import write_text_atomic

if TYPE_CHECKING:
    from tracescribe.agents.calls.ledger import LedgerSummary


@dataclass(frozen=True)
class AgentEntry:
    """One agent or one style.

    Attributes:
        name: as the option takes it.
        option: `--agent` or `--style`.
        about: what it does, in a line.
        needs: what must be there; empty for nothing.
    """

    name: str
    option: Literal["--agent", "--style"]
    about: str
    needs: str = ""


_KEYS = "a key in the environment or the keyring, unless the server wants none"
_WEIGHTS = "the model's weights"
_SCAN = "the model's weights and a corpus scan"
_PROGRAM = "the program; see docs/benchmark-agents.md"
_ENTRIES = (
    AgentEntry("offline", "--agent", "rules over evidence and attribution; free, deterministic, the default"),
    AgentEntry("random", "--agent", "baseline: features, groups, ranks and claims drawn at random"),
    AgentEntry("influence", "--agent", "baseline: the features with the most influence, each on its own"),
    AgentEntry("position", "--agent", "baseline: features grouped by the token that they stand at"),
    AgentEntry("layer", "--agent", "baseline: features grouped by layer, late layers ranked first"),
    AgentEntry("profiles", "--agent", "baseline: spectral clusters of attribution profiles, as ADAG makes them"),
    AgentEntry("acdc", "--agent", "baseline: edges that ACDC keeps in the replacement model", _WEIGHTS),
    AgentEntry("eap-ig", "--agent", "baseline: edges by EAP with integrated gradients, replacement model", _WEIGHTS),
    AgentEntry("probe", "--agent", "baseline: linear probes for concepts of the corpus, and what writes them", _SCAN),
    AgentEntry("llm", "--agent", "the language model of --provider, --llm-model and --base-url", _KEYS),
    AgentEntry("openai:MODEL", "--agent", "a model of OpenAI, by Chat Completions", _KEYS),
    AgentEntry("openai-responses:MODEL", "--agent", "a model of OpenAI, by Responses", _KEYS),
    AgentEntry("anthropic:MODEL", "--agent", "a model of Anthropic, by Messages", _KEYS),
    AgentEntry(
        "openai-compatible:URL[#MODEL]",
        "--agent",
        "any server with OpenAI's wire format: vLLM, llama.cpp, Ollama",
        "a running server",
    ),
    AgentEntry("local:FOLDER", "--agent", "a Hugging Face model, loaded here", "memory for the model; safetensors"),
    AgentEntry("exec:PATH [ARGUMENTS]", "--agent", "a program that reads a case and answers in JSON", _PROGRAM),
    AgentEntry("python:MODULE:ATTRIBUTE", "--agent", "the same, a Python callable in a process of its own", _PROGRAM),
    AgentEntry("pipeline", "--style", "each step one structured question: label, group, claim, revise; the default"),
    AgentEntry("one-shot", "--style", "one question for the whole circuit, no look-ups: the honest baseline"),
    AgentEntry("investigator", "--style", "the model chooses what to look at and what to test, within the same tools"),
)


def list_agents() -> tuple[AgentEntry, ...]:
    """Every agent and every style."""
    return _ENTRIES


def draw_loop(form: Literal["mermaid", "json"], out: Path | None) -> str:
    """The compiled loop as text; written to a file where one is named.

    Raises:
        OutputError: the file cannot be written.
    """
    target = None if out is None else prepare_file(out)
    from tracescribe.agents.loop import graph_drawing

    drawing = graph_drawing()
    text = json.dumps(drawing.as_json(), indent=2) if form == "json" else drawing.mermaid.rstrip("\n")
    if target is not None:
        write_text_atomic(target, text + "\n")
    return text


def read_ledger(file: Path) -> LedgerSummary:
    """Sums over a record of calls; the file is only read.

    Raises:
        InputError: it cannot be read.
    """
    from tracescribe.agents.calls.ledger import summarize_ledger

    return summarize_ledger(file.expanduser())
