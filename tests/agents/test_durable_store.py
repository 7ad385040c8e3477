"""A run's folder: one process at a time, one run at a time, and files that are read as what they should be or not at all."""

from __future__ import annotations

import json
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracescribe.agents.budget import MeterSnapshot
from tracescribe.agents.durable.checkpoints import CONFIG, Checkpoints
from tracescribe.agents.durable.errors import RunDamagedError, RunLockedError, RunMismatchError
from tracescribe.agents.durable.run_clock import RunClock
from tracescribe.agents.durable.run_store import KEPT, RunStore
from tracescribe.agents.durable.serializer import FORMAT, MODELS, StateSerializer
from tracescribe.agents.registry_log import RegistryMark
from tracescribe.agents.report import Stopped
from tracescribe.agents.tools_snapshot import ToolsSnapshot

FINGERPRINT: dict[str, Any] = {"seed": 0, "budget": {"experiments": 5, "usd": None}, "agent": "offline"}
HOLD = """
import sys
from pathlib import Path
from tracescribe.agents.durable.run_store import RunStore
with RunStore(Path(sys.argv[1])).open():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    command = [sys.executable, "-c", HOLD, str(store.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        with (
            pytest.raises(RunLockedError, match=rf"another process \({first.pid}\) works in .*run; wait"),
            store.open(),
        ):
            pass
        with pytest.raises(RunLockedError):
            store.fresh()
        first.kill()
    with store.open() as run:
        run.begin(FINGERPRINT)


def test_the_same_process_is_refused_twice(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.open(), pytest.raises(RunLockedError), store.open():
        pass
    with store.open():
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "another seed: 0, not 1"),
        ({"budget": {"experiments": 6, "usd": None}}, "another budget.experiments: 5, not 6"),
        ({"agent": "llm", "seed": 1}, r"another seed: 0, not 1 \(and 1 other differences\)"),
        ({"more": True}, "another more: null, not true"),
    ],
)
def test_another_run_in_the_folder_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    store = RunStore(tmp_path)
    with store.open() as run:
        run.begin(FINGERPRINT)
    with pytest.raises(RunMismatchError, match=told + "; throw it away with --fresh"), store.open() as run:
        run.begin({**FINGERPRINT, **change})
    assert json.loads((tmp_path / "fingerprint.json").read_text()) == FINGERPRINT
    with store.open() as run:
        run.begin(FINGERPRINT)


def test_fresh_and_finished_runs_give_way(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert not store.is_unfinished
    for clear in (store.fresh, store.finish):
        with store.open() as run:
            run.begin(FINGERPRINT)
            run.clock()
        for name in KEPT[1:]:
            (tmp_path / name).touch()
        assert store.is_unfinished
        clear()
        assert not store.is_unfinished
        with store.open() as run:
            run.begin({**FINGERPRINT, "seed": 7})
        assert {path.name for path in tmp_path.iterdir()} == {"lock", "clock", "fingerprint.json"}
        store.fresh()
        assert {path.name for path in tmp_path.iterdir()} == {"lock"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_fingerprint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fingerprint.json").write_bytes(content)
    with pytest.raises(RunDamagedError, match="does not say what the run is of"), RunStore(tmp_path).open() as run:
        run.begin(FINGERPRINT)


def test_the_clock_goes_on_where_it_was(tmp_path: Path) -> None:
    first = RunClock()
    assert first.keep(tmp_path / "clock") == 0.0
    (tmp_path / "clock").write_text("41.5")
    second = RunClock()
    assert second.keep(tmp_path / "clock") == 41.5
    second()
    second.close()
    assert RunClock().keep(tmp_path / "clock") >= 41.5


@pytest.mark.parametrize("content", ["", "x", "nan", "inf", "-3"])
def test_a_damaged_clock_starts_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "clock").write_text(content)
    assert RunClock().keep(tmp_path / "clock") == 0.0


# -- the state ------------------------------------------------------------------------------------------------------------

SNAPSHOT = ToolsSnapshot(
    meter=MeterSnapshot(forward_passes=7, usd=0.1, billed=("a", "b")),
    claims=3,
    charged=("clean 1 2", "trace \U0001f600"),
    memory={"turns": [1, 2.5, None, {"$tuple": "text"}]},
    registry=RegistryMark(length=2, chain="f" * 64),
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.just("$model"), inner),
    max_leaves=20,
)


@given(plain_values)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    serializer = StateSerializer()
    back = serializer.loads_typed(serializer.dumps_typed(value))
    assert back == value
    assert repr(back) == repr(value)  # tuples stay tuples, 1 stays 1 and True stays True


def test_models_come_back_as_they_were() -> None:
    serializer = StateSerializer()
    state = {"tools": SNAPSHOT, "stopped": (Stopped(reason="complete", detail="x", rounds=1), None)}
    assert serializer.loads_typed(serializer.dumps_typed(state)) == state


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"bytes", MeterSnapshot()])
def test_other_values_are_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="loop's state"):
        StateSerializer().dumps_typed({"x": value})


@pytest.mark.parametrize(
    "data",
    [
        ("msgpack", b"\x80"),
        ("pickle", pickle.dumps({"x": 1})),
        ("json", b"{}"),
        (FORMAT, b"{"),
        (FORMAT, b"\xff"),
        (FORMAT, b"[" * 100_000),
        (FORMAT, b'{"$model":"os.system","value":{}}'),
        (FORMAT, b'{"$model":["ToolsSnapshot"],"value":{}}'),
        (FORMAT, b'{"$model":"ToolsSnapshot","value":{},"more":1}'),
        (FORMAT, b'{"$model":"ToolsSnapshot","value":{"claims":-1}}'),
        (FORMAT, b'{"$model":"ToolsSnapshot","value":{"unknown":1}}'),
        (FORMAT, b'{"$mapping":3}'),
        (FORMAT, b'{"$mapping":[[1]]}'),
        (FORMAT, b'{"$mapping":[[[1],2]]}'),
    ],
)
def test_nothing_else_is_read(data: tuple[str, bytes]) -> None:
    with pytest.raises(RunDamagedError, match="checkpoint"):
        StateSerializer().loads_typed(data)


def test_models_are_those_of_the_state_alone() -> None:
    assert all(name == model.__name__ for name, model in MODELS.items())
    assert "Budget" not in MODELS


def _checkpoints(path: Path, values: dict[str, Any]) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    checkpoints = Checkpoints(path)
    checkpoint = empty_checkpoint() | {"channel_values": values}
    checkpoints.saver.put(CONFIG, checkpoint, {}, {})  # type: ignore[arg-type]
    checkpoints.close()


def _state(path: Path) -> Any:
    checkpoints = Checkpoints(path)
    try:
        return checkpoints.state()
    finally:
        checkpoints.close()


def test_the_last_state_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    assert _state(path) is None
    _checkpoints(path, {"rounds": 1, "tools": SNAPSHOT, "__start__": None})
    assert _state(path) == {"rounds": 1, "tools": SNAPSHOT}


def test_a_state_with_values_of_other_kinds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    _checkpoints(path, {"labels": "all of them"})
    with pytest.raises(RunDamagedError, match="cannot be read .* start again with --fresh"):
        _state(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(RunDamagedError, match="file is not a database"):
        _state(path)


def test_damage_anywhere_in_the_file_is_told_or_harmless(tmp_path: Path) -> None:
    """Bytes overwritten at many places: the state comes back as it was, or not at all; no other error escapes."""
    path = tmp_path / "checkpoints.sqlite"
    _checkpoints(path, {"rounds": 1, "tools": SNAPSHOT})
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), len(whole) // 120):
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.write_bytes(whole[:at] + b"\xa5" * 24 + whole[at + 24 :])
        try:
            state = _state(path)
        except RunDamagedError:
            refused += 1
        else:
            assert state is None or set(state) <= {"rounds", "tools"}
    assert refused


@pytest.mark.parametrize("kind", ["msgpack", "json", None])
def test_a_checkpoint_in_langgraphs_own_format_is_refused(tmp_path: Path, kind: str | None) -> None:
    """It could name classes to import."""
    path = tmp_path / "checkpoints.sqlite"
    _checkpoints(path, {"rounds": 1})
    with sqlite3.connect(path) as database:
        database.execute("UPDATE checkpoints SET type = ?", (kind,))
    with pytest.raises(RunDamagedError, match=f"only {FORMAT} is read"):
        _state(path)
