"""The whole build in miniature: it writes everything, resumes after a kill, and says what is wrong with a call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracescribe.tracer.embedded.training.build import BuildResult, build_embedded
from tracescribe.tracer.embedded.training.card import CARD_FORMAT, Card
from tracescribe.tracer.errors import OutputError, SettingError

SCALE = 0.002


class _Killed(Exception):
    """Stands for a kill at a chosen moment."""


class _Recorder:
    """Notes the stages it hears of, and may end the run in one of them."""

    def __init__(self, kill_in: str | None = None) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self._kill_in = kill_in

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        self.calls.append((stage, done, total))
        if stage == self._kill_in:
            raise _Killed

    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stage, _, _ in self.calls))


@pytest.fixture(scope="module")
def killed_then_resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, BuildResult, _Recorder]:
    """Weights after a build that ended inside the transcoder's training; the second build's result and calls."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.raises(_Killed):
        build_embedded(folder, threads=1, scale=SCALE, progress=_Recorder(kill_in="transcoder"))
    assert not (folder / "clt").exists()
    weights = (folder / "model" / "model.safetensors").read_bytes()
    recorder = _Recorder()
    return weights, build_embedded(folder, threads=1, scale=SCALE, progress=recorder), recorder


def test_a_finished_stage_is_not_repeated(killed_then_resumed: tuple[bytes, BuildResult, _Recorder]) -> None:
    weights, result, recorder = killed_then_resumed
    assert recorder.stages() == ["transcoder", "card"]
    assert (result.model_dir / "model.safetensors").read_bytes() == weights


def test_every_stage_ends_at_its_total(killed_then_resumed: tuple[bytes, BuildResult, _Recorder]) -> None:
    last = {stage: (done, total) for stage, done, total in killed_then_resumed[2].calls}
    assert all(done == total for done, total in last.values())


def test_the_build_leaves_a_complete_folder(killed_then_resumed: tuple[bytes, BuildResult, _Recorder]) -> None:
    result = killed_then_resumed[1]
    model_files = {path.name for path in result.model_dir.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= model_files
    assert Card.model_validate_json(result.card_path.read_text()).format == CARD_FORMAT
    assert "trained to implement a known causal model" in result.model_card_path.read_text()
    latents = json.loads(result.feature_latents_path.read_text())
    assert result.feature_latents_path.parent.name == "oracle"
    assert len(latents["features"]) == result.card.features.live
    assert not [path for path in result.card_path.parent.rglob("*") if path.name.startswith(".")], "left-over files"


@pytest.mark.parametrize(("threads", "scale"), [(0, 1.0), (1, 0.0), (1, 2.0)])
def test_impossible_settings_are_refused(tmp_path: Path, threads: int, scale: float) -> None:
    with pytest.raises(SettingError, match="expected at least 1, and above 0 up to 1"):
        build_embedded(tmp_path, threads=threads, scale=scale)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_found_out_before_any_work(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    recorder = _Recorder()
    with pytest.raises(OutputError, match="cannot write"):
        build_embedded(blocked, threads=1, scale=SCALE, progress=recorder)
    assert not recorder.calls
