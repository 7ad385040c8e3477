"""Lines of the log: of the shipped form, redacted, whole whoever else writes, and put aside by size."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.runs.jobs.specification import Privacy
from tracescribe.runs.telemetry import log_lines
from tracescribe.runs.telemetry.log_file import SharedLogFile
from tracescribe.runs.telemetry.log_lines import MAX_LINE_BYTES, JsonLines, log_place
from tracescribe.runs.telemetry.observing import observe_job
from tracescribe.runs.telemetry.settings import ObservabilitySettings
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.redaction import redactor_of

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "runs" / "schemas" / "log.schema.json").read_text(encoding="utf-8"))
KEY = "sk-planted-7Qm2xVt9LkR4"
LINES = JsonLines(redactor_of(("email",), None, {"A_KEY": KEY}), job_id="job1")


def record(message: str, *arguments: object, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    """A record as loggers make them."""
    made = logging.LogRecord("tracescribe.tests", level, __file__, 1, message, arguments, more.pop("exc_info", None))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def checked(line: str) -> dict[str, Any]:
    """A line's content, of the shipped form."""
    found: dict[str, Any] = json.loads(line)
    jsonschema.validate(found, SCHEMA)
    return found


def test_a_line_says_where_and_what() -> None:
    with log_place(worker_id="w1"), log_place(case_id="job1.7"):
        line = checked(LINES.format(record("case %s", "x", event="case done", fields={"seconds": 1.5})))
    assert line["schema"] == log_lines.SCHEMA == SCHEMA["$id"]
    place = (line["job_id"], line["case_id"], line["worker_id"], line["event"], line["message"], line["fields"])
    assert place == ("job1", "job1.7", "w1", "case done", "case x", {"seconds": 1.5})
    assert checked(LINES.format(record("after")))["case_id"] is None


def test_secrets_are_in_no_part_of_a_line() -> None:
    try:
        raise RuntimeError(f"refused {KEY} of eve@example.org")
    except RuntimeError:
        failed = sys.exc_info()
    told = {"eve@example.org": KEY, "list": [f"Bearer {KEY}"], "path": Path(f"/x/{KEY}")}
    line = LINES.format(record("asked %s as %s", KEY, "eve@example.org", fields=told, exc_info=failed, event=KEY))
    assert "7Qm2" not in line and "eve@" not in line
    found = checked(line)
    assert found["fields"]["error"] == "RuntimeError" and "Traceback" in found["fields"]["traceback"]
    assert checked(LINES.format(record("%d of %d", "not a number")))["message"] == "%d of %d"


@given(st.text(), st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)))
@settings(max_examples=25, deadline=None)
def test_any_text_is_one_line_of_the_form(message: str, value: object) -> None:
    line = LINES.format(record(message.replace("%", "%%"), fields={"value": value}))
    assert "\n" not in line and "\r" not in line and line.isascii()
    checked(line)


def test_long_lines_are_cut_and_stay_json() -> None:
    line = LINES.format(record("ä" * 100_000, fields={"long": ["x" * 1000] * 100}))
    assert len(line) <= MAX_LINE_BYTES and checked(line)["fields"] == {"cut": True}


WRITER = """
import logging, sys
from pathlib import Path
from tracescribe.runs.telemetry.log_file import SharedLogFile
handler = SharedLogFile(Path(sys.argv[1]), 4096, 200)
for number in range(300):
    handler.emit(logging.LogRecord("n", 20, "", 1, f"{sys.argv[2]} {number} " + "x" * (number % 90), (), None))
sys.exit(handler.lost)
"""


def test_many_processes_write_whole_lines_and_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(name)]) for name in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    found = [line.split(" ")[:2] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted(found) == sorted([str(name), str(number)] for name in range(3) for number in range(300))


@pytest.mark.parametrize("n_files", [1, 3])
def test_old_files_go(tmp_path: Path, n_files: int) -> None:
    handler = SharedLogFile(tmp_path / "log", 100, n_files)
    for number in range(50):
        handler.emit(record(f"{number:03d} {'x' * 40}"))
    handler.close()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert set(kept) <= {"log", "log.1", "log.2"} and len(kept) <= n_files and handler.lost == 0


def test_a_full_disk_loses_lines_and_disturbs_nobody() -> None:
    handler = SharedLogFile(Path("/dev/full"), 1 << 20, 2)
    handler.emit(record("lost"))
    handler.close()
    assert handler.lost == 1


def test_a_job_logs_to_its_file_and_workers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "planted-secret-1")
    log = logging.getLogger("tracescribe.tests.telemetry")
    observed = ObservabilitySettings.of(None, tmp_path / "new" / "log.jsonl", "debug", environment={})
    with observe_job(observed, "job7", Privacy(patterns=("email",), more={"ticket": r"TCK-\d{4}"})):
        log.debug("of eve@example.org, TCK-1234, planted-secret-1")
        assert ObservabilitySettings.of() == observed
    log.error("afterwards")
    (line,) = (tmp_path / "new" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert checked(line)["message"] == "of [redacted email], [redacted ticket], [redacted secret]"
    assert checked(line)["job_id"] == "job7"
    assert ObservabilitySettings.of() == ObservabilitySettings()


def test_the_terminal_hears_no_more_than_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    shown = logging.StreamHandler(sys.stderr)
    root.handlers, root.level = [shown], logging.ERROR
    try:
        with observe_job(ObservabilitySettings(log_file=tmp_path / "log"), "job7", Privacy()):
            logging.getLogger("tracescribe.tests").info("for the file")
            logging.getLogger("tracescribe.tests").error("for both")
    finally:
        root.handlers, root.level = before, level
    assert capsys.readouterr().err == "for both\n"
    assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 2


def test_what_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    observed = ObservabilitySettings.of(None, tmp_path / "file" / "log", environment={})
    with pytest.raises(SettingError, match="--log-file .*name a file that can be written"):
        observe_job(observed, "job7", Privacy()).__enter__()
    for name, value in (("TELEMETRY", "jaeger"), ("LOG_LEVEL", "loud"), ("LOG_BYTES", "-1"), ("LOG_FILES", "0")):
        with pytest.raises(SettingError, match="correct it"):
            ObservabilitySettings.of(environment={f"TRACESCRIBE_{name}": value})
