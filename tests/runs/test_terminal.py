"""Untrusted text is harmless on a terminal, results are clean JSON, and steps are seen and timed."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from tracescribe.runs import terminal


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b[31mred", "a\rb", "a\u202eb", "a\x9bb", "bell\x07"])
def test_plain_leaves_no_character_that_a_terminal_obeys(hostile: str) -> None:
    shown = terminal.plain(hostile)
    assert shown.isprintable()
    assert "\ufffd" in shown


def test_plain_keeps_ordinary_text_of_any_script() -> None:
    text = "München 東京 naïve – “quoted” [bold]not markup[/bold] :smile:"
    assert terminal.plain(text) == text


def test_console_takes_neither_markup_nor_emoji_codes_from_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.stdout().print("[red]Dallas[/red] :smile:")
    assert capsys.readouterr().out == "[red]Dallas[/red] :smile:\n"


def test_a_character_that_an_encoding_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1"))
    terminal.bear_any_text()
    terminal.stdout().print(terminal.styled("caf\u00e9 \u65e5\u672c"), soft_wrap=True)
    sys.stdout.flush()
    assert written.getvalue() == b"caf\xe9 \\u65e5\\u672c\n"


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_error("two\nlines \x1b[31m", "see there")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: two lines \ufffd[31m; see there\n"


def test_json_survives_any_terminal_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"token": "Zürich"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"token": "Zürich"}


def test_json_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        terminal.print_json({"p": float("nan")})


def _log() -> tuple[terminal.StepLog, io.StringIO]:
    stream = io.StringIO()
    return terminal.StepLog(Console(file=stream, width=80, markup=False, emoji=False)), stream


def test_each_step_leaves_one_line_with_its_seconds_and_what_was_found() -> None:
    log, stream = _log()
    with log.step("trace") as details:
        details.append("412 nodes")
    log.begin("prune")
    log.finish("60 nodes")
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["trace", "prune"]
    assert lines[0].endswith("412 nodes")
    assert list(log.seconds) == ["trace", "prune"]
    assert all(seconds >= 0 for seconds in log.seconds.values())


def test_a_step_that_runs_twice_is_summed_once() -> None:
    log, _ = _log()
    for _ in range(2):
        with log.step("experiment"):
            pass
    assert list(log.seconds) == ["experiment"]


def test_a_failed_step_is_not_reported_as_done() -> None:
    log, stream = _log()
    with pytest.raises(RuntimeError, match="no"), log.step("trace"):
        raise RuntimeError("no")
    assert stream.getvalue() == ""
    assert log.seconds == {}
