"""A scan of the embedded model whose tokens are hostile, for reports that name it as theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path


def write_hostile_evidence(folder: Path, payloads: Sequence[str]) -> Path:
    """A folder of evidence with the embedded model's numbers and hostile words."""
    with as_file(files("tracescribe.tracer.embedded") / "evidence") as honest:
        shutil.copytree(honest, folder)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    index["token_texts"] = {
        token: f"{payloads[place % len(payloads)]} ~{token}" for place, token in enumerate(index["token_texts"])
    }
    index["sentences"] = [payloads[place % len(payloads)] for place in range(len(index["sentences"]))]
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
