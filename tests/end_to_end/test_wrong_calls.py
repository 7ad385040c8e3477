"""Every way in which a call can be wrong: one line with cause and cure, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tracescribe.tracer import embedded
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import write_graph

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]
DALLAS = "the capital of the state containing Dallas is"


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *told: str) -> None:
    """One error line that tells these things, nothing on stdout, no traceback."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in told:
        assert part in errors[0]


def left_behind(folder: Path) -> list[Path]:
    """Every file and folder below a folder, but for the one that the command ran in."""
    return [path for path in folder.rglob("*") if path != folder / "here"]


def test_unknown_model(tracescribe: CommandLine, tmp_path: Path) -> None:
    done = tracescribe("trace", "-p", DALLAS, "--model", "embeded", "--out", str(tmp_path / "graph.json"))
    assert_refused(done, 2, "no model 'embeded'", "check the spelling")
    assert left_behind(tmp_path) == []


def test_transcoders_of_the_wrong_shape(tracescribe: CommandLine, tmp_path: Path) -> None:
    """A complete, readable set that is narrower than the model."""
    import torch
    from safetensors.torch import load_file, save_file

    narrow = tmp_path / "clt"
    shutil.copytree(embedded.transcoder_dir(), narrow)
    for path in narrow.glob("*.safetensors"):
        tensors: dict[str, torch.Tensor] = load_file(path)
        width = next(t.shape[-1] for name, t in tensors.items() if name.startswith("W_"))
        cut = {n: (t[..., : width // 2] if t.shape[-1] == width else t).contiguous() for n, t in tensors.items()}
        save_file(cut, path)
    done = tracescribe("interpret", "-p", DALLAS, "--transcoders", str(narrow), "--out", str(tmp_path / "report"))
    assert_refused(done, 2, "128", "64")
    assert not (tmp_path / "report").exists()


def test_truncated_graph_file(tracescribe: CommandLine, tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    whole = tmp_path / "graph.json"
    write_graph(whole, dallas_graph)
    text = whole.read_text(encoding="utf-8")
    json.loads(text)
    cut = tmp_path / "cut.json"
    cut.write_text(text[: len(text) // 2], encoding="utf-8")
    done = tracescribe("interpret", "--graph", str(cut), "--out", str(tmp_path / "report"))
    assert_refused(done, 2, "cut.json")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", ("the prompt is empty", "give at least one word")),
        ("the capital " * 200, ("tokens", "reads at most", "shorten it")),
        ("the capitol of the state containing Dallas is", ("capitol", "capital")),
    ],
    ids=["empty", "over-long", "unknown word"],
)
def test_prompts_that_cannot_be_read(
    prompt: str, told: tuple[str, ...], tracescribe: CommandLine, tmp_path: Path
) -> None:
    done = tracescribe("interpret", "--prompt", prompt, "--out", str(tmp_path / "report"))
    assert_refused(done, 2, *told)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("command", [("demo",), ("interpret", "-p", DALLAS)], ids=["demo", "interpret"])
def test_output_folder_that_cannot_be_written(
    command: tuple[str, ...], tracescribe: CommandLine, tmp_path: Path
) -> None:
    """A file stands where the folder should be: refused even for root, and before any work."""
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    done = tracescribe(*command, "--out", str(tmp_path / "taken" / "report"))
    assert_refused(done, 1, "cannot write to", "choose another folder with --out")
    assert "✓" not in done.stderr, "work was done before the folder was tried"
    assert left_behind(tmp_path) == [tmp_path / "taken"]


def test_debug_shows_where(tracescribe: CommandLine) -> None:
    done = tracescribe("trace", "-p", "", "--debug")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the prompt is empty")
