"""What is installed, what is missing, and what to do: one finding for each thing that a run depends on."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.provenance import version

Status = Literal["ok", "optional", "broken"]
PROMPT = "the capital of the state containing Dallas is"
"""The probe of the embedded model: it must give an answer with confidence, whatever the answer is."""
MIN_PROBABILITY = 0.5
"""Below one half the model's first choice is not an answer; the embedded model gives above .9 here."""
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TRACESCRIBE_LLM_API_KEY")


@dataclass(frozen=True)
class Finding:
    """One thing examined.

    Attributes:
        name: what was examined.
        status: `ok`; `optional` where something absent is only needed for some commands; `broken`.
        found: what is there.
        cure: what to do about it; empty where nothing is to do.
    """

    name: str
    status: Status
    found: str
    cure: str = ""


def examine(workspace: Path) -> tuple[Finding, ...]:
    """Examine everything; no finding hides another, and nothing is changed or sent.

    Args:
        workspace: the folder that results would go to.
    """
    findings = [_python(), _product(), *_dependencies()]
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("torch", _torch),
        ("embedded files", _embedded_files),
        ("embedded model", _embedded_model),
        ("evidence", _evidence),
    )
    for name, check in checks:
        findings.append(_guarded(name, check))
    findings += [*_keys(), _guarded("keyring", _keyring), _llm_settings(), _guarded("durable runs", _durable_runs)]
    findings.append(_workspace(workspace))
    return tuple(findings)


def healthy(findings: tuple[Finding, ...]) -> bool:
    """Whether nothing is broken."""
    return all(finding.status != "broken" for finding in findings)


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """A check whose own failure is a finding: a doctor that falls ill helps nobody."""
    try:
        return check()
    except TracescribeError as error:
        return Finding(name, "broken", str(error), "install the package again")
    except ImportError as error:
        return Finding(name, "broken", f"cannot import: {error}", "install the package again with its dependencies")
    except Exception as error:  # noqa: BLE001  whatever broke is the finding
        return Finding(name, "broken", f"{type(error).__name__}: {error}", "install the package again")


def _python() -> Finding:
    found = f"{platform.python_version()} ({platform.system()}, {os.cpu_count()} CPU cores)"
    return Finding("python", "ok", found)


def _product() -> Finding:
    found = version()
    if found.startswith("0+"):
        return Finding("tracescribe", "broken", "not installed", "run pip install -e . in the repository")
    return Finding("tracescribe", "ok", found)


def _dependencies() -> list[Finding]:
    """Each declared dependency: there, and within its bounds."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        declared = metadata.requires("tracescribe") or []
    except metadata.PackageNotFoundError:
        return []
    findings: list[Finding] = []
    for line in declared:
        if re.search(r"extra\s*==", line):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            findings.append(Finding(line, "broken", str(error), "install the package again"))
            continue
        findings.append(_dependency(requirement.name, str(requirement.specifier), requirement.specifier.contains))
    return findings


def _dependency(name: str, bounds: str, fits: Callable[..., bool]) -> Finding:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "broken", "not installed", f"pip install '{name}{bounds}'")
    if not fits(found, prereleases=True):
        return Finding(name, "broken", f"{found}, needed is {bounds}", f"pip install '{name}{bounds}'")
    return Finding(name, "ok", found)


def _torch() -> Finding:
    import torch

    device = "CUDA available, not used" if torch.cuda.is_available() else "CPU"
    return Finding("torch threads", "ok", f"{torch.get_num_threads()} threads, {device}")


def _embedded_files() -> Finding:
    """The shipped weights are those that the shipped evidence and the oracle gold were made with."""
    from tracescribe.evals.gold import read_gold
    from tracescribe.evals.oracle.building import oracle_path
    from tracescribe.tracer import embedded
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model("embedded").weights_sha256, load_transcoders("embedded").sha256
    scanned = EvidenceStore.load(embedded.evidence_dir()).origin
    stamps = {(c.stamp.model_sha256, c.stamp.transcoder_sha256) for c in read_gold(oracle_path()).circuits}
    faults: list[str] = []
    if (scanned.model_sha256, scanned.transcoder_sha256) != (model, transcoders):
        faults.append("the evidence is of other weights")
    if stamps != {(model, transcoders)}:
        faults.append("the oracle gold is of other weights")
    if faults:
        cure = "install the package again; in a clone: tracescribe evidence build, tracescribe gold build"
        return Finding("embedded files", "broken", " and ".join(faults), cure)
    found = f"model {model[:8]}, CLT {transcoders[:8]}; evidence and oracle gold belong to them"
    return Finding("embedded files", "ok", found)


def _embedded_model() -> Finding:
    """The embedded model fits its transcoders, and answers."""
    import torch

    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import check_fit, load_transcoders

    model = load_model("embedded")
    check_fit(model, load_transcoders("embedded"))
    tokens = model.encode(PROMPT)
    with torch.no_grad():
        probabilities = torch.softmax(model.hf(tokens[None]).logits[0, -1], dim=-1)
    top = int(probabilities.argmax())
    found = f"'{PROMPT}' -> '{model.token_text(top)}' (p {float(probabilities[top]):.2f})"
    if float(probabilities[top]) < MIN_PROBABILITY:
        return Finding("embedded model", "broken", found, "install the package again")
    return Finding("embedded model", "ok", found)


def _evidence() -> Finding:
    """The shipped evidence is complete, and of the shipped corpus."""
    from tracescribe.tracer.evidence import load_embedded_evidence
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    store = load_embedded_evidence(load_model("embedded"), load_transcoders("embedded"))
    return Finding("evidence", "ok", f"{store.n_sentences} sentences, {store.n_tokens} tokens")


def _keys() -> list[Finding]:
    """Whether provider keys are there, and where; their values are nobody's business."""
    from tracescribe.agents.providers.secrets import KEYRING_SERVICE, stored_key

    findings: list[Finding] = []
    for key in KEYS:
        cure = (
            f"only needed to ask a language model: set it in the environment, or 'keyring set {KEYRING_SERVICE} {key}'"
        )
        if os.environ.get(key, "").strip():
            findings.append(Finding(key, "ok", "set"))
        elif stored_key(key) is not None:
            findings.append(Finding(key, "ok", "in the keyring"))
        else:
            findings.append(Finding(key, "optional", "not set", cure))
    return findings


def _keyring() -> Finding:
    """Whether a keyring can be asked for keys; without one they come from the environment alone."""
    cure = "only needed to keep keys out of the environment: pip install 'tracescribe[keyring]'"
    try:
        keyring = import_module("keyring")  # an extra, so type checkers may not find it
    except ImportError:
        return Finding("keyring", "optional", "not installed", cure)
    backend = keyring.get_keyring()
    if getattr(backend, "priority", 0) <= 0:
        return Finding(
            "keyring", "optional", "no service that keeps keys on this machine", "set keys in the environment"
        )
    return Finding("keyring", "ok", type(backend).__module__)


def _durable_runs() -> Finding:
    """A run is begun, kept, and found again, in a folder that is gone afterwards: what going on after a kill rests on."""
    import sqlite3

    from tracescribe.agents.durable.checkpoints import Checkpoints
    from tracescribe.agents.durable.run_store import RunStore

    with tempfile.TemporaryDirectory(prefix="tracescribe-doctor-") as folder:
        with RunStore(Path(folder)).open() as run:
            run.begin({"case": "doctor"})
            checkpoints: Checkpoints = run.checkpoints()
            checkpoints.state()
        if not RunStore(Path(folder)).is_unfinished:
            return Finding(
                "durable runs", "broken", "a run that was begun is not found again", "use another file system"
            )
    return Finding("durable runs", "ok", f"locks, checkpoints in SQLite {sqlite3.sqlite_version}")


def _llm_settings() -> Finding:
    """Which settings of a language model the environment gives, by name; an address may hold a password."""
    from tracescribe.agents.providers.settings import ENVIRONMENT

    given = [variable for variable in ENVIRONMENT.values() if os.environ.get(variable)]
    if given:
        return Finding("language model", "ok", f"set: {', '.join(given)}")
    cure = "only needed to ask a language model: give --agent openai:MODEL or another, see 'tracescribe agents list'"
    return Finding("language model", "optional", "nothing set", cure)


def _workspace(folder: Path) -> Finding:
    """Whether results could be written, found out without leaving a trace."""
    target = folder.expanduser().absolute()
    existing = next(p for p in (target, *target.parents) if p.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".writable-"):
            return Finding("workspace", "ok", f"{target} can be written")
    except OSError as error:
        cure = "choose another folder with --out, or change its permissions"
        return Finding("workspace", "broken", f"{target}: {error.strerror or error}", cure)
