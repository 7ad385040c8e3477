"""The shell of the command line: quick to start, every error on one line, codes as promised, help that cannot drift."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tracescribe.runs import cli
from tracescribe.runs.command_reference import reference
from tracescribe.runs.commands.only_called import only_called
from tracescribe.tracer.errors import InputError, TracescribeError, WorkError

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "transformers",
    "langgraph",
    "openai",
    "anthropic",
    "networkx",
    "numpy",
    "pydantic",
    "jinja2",
    "scipy",
    "fastapi",
    "starlette",
    "uvicorn",
)
MAX_START_UP_SECONDS = 0.5
MAX_START_UP_RATIO = 8.0
"""Of the help's processor time to that of importing what reads command lines; about 4. For machines of any speed."""


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the application raise, as a command would."""

    def raising(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "only_called", lambda *_: raising)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tracescribe.runs.cli import main; main(['--help']); "
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith("HEAVY []")
    assert "demo" in shown.stdout


def test_help_answers_at_once() -> None:
    """In processor time, and the best of some starts: whatever else the machine does must not decide."""

    def seconds(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    help_, imports = (("-m", "tracescribe.runs", "--help"), ("-c", "import typer.main"))
    pairs = [(seconds(*help_), seconds(*imports)) for _ in range(3)]
    best, of_imports = (min(pair[n] for pair in pairs) for n in range(2))
    assert best < max(MAX_START_UP_SECONDS, MAX_START_UP_RATIO * of_imports)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tracescribe 0.")


def test_no_command_shows_help_and_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "tracescribe demo" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nope"], "error: No such command 'nope'; see 'tracescribe --help'\n"),
        (["doctor", "--nope"], "error: No such option: --nope; see 'tracescribe doctor --help'\n"),
        (
            ["models", "train-embedded"],
            "error: Missing option '--out'; see 'tracescribe models train-embedded --help'\n",
        ),
        (["trace"], "error: no prompt is given; give it either with --prompt or with --prompt-file\n"),
        (
            ["intervene", "-p", "x"],
            "error: nothing to edit; give --ablate, --scale, --set, --add, --error, --direction or --swap-from\n",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 2
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("wrong"), 2), (WorkError("failed"), 1), (TracescribeError("x"), 1)]
)
def test_our_errors_carry_their_code(
    error: TracescribeError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, error)
    assert cli.main([]) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, KeyError("x"))
    assert cli.main([]) == 1
    assert capsys.readouterr().err == "error: unexpected KeyError: 'x'; run again with --debug to see where\n"


@pytest.mark.parametrize(
    "argv", [["--debug", "demo"], ["demo", "--debug"], ["demo", "--json", "--debug", "--seed", "1"]]
)
def test_debug_anywhere_shows_the_traceback(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, InputError("wrong"))
    assert cli.main(argv) == 2
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.endswith("error: wrong\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_is_code_130(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, error)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_termination_ends_as_an_interrupt_does_with_code_143(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned: list[str] = []
    app = typer.Typer()

    @app.command()
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            cleaned.append("as after Ctrl-C")
            raise

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "app", app)
    assert cli.main([]) == 143
    assert capsys.readouterr().err.strip() == "error: terminated" and cleaned
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_went_away_is_no_error() -> None:
    """`tracescribe ... | head -1` must not end in a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tracescribe.runs", "prompts", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    assert "Traceback" not in errors


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """How each command and each group is called, and whether it is a group."""
    children = getattr(command, "commands", {})
    yield path, bool(children)
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def test_a_command_that_is_built_alone_is_as_among_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help, a group's, and what is said about an option or a command that there is not."""

    def told(application: Any, line: list[str]) -> object:
        try:
            code = application(args=line, prog_name="tracescribe", standalone_mode=False)
        except typer.TyperException as error:
            code = str(error)
        return code, capsys.readouterr()

    whole = typer.main.get_command(cli.app)
    every = list(_commands(whole))
    lines = [[*path, ending] for path, _ in every for ending in ("--help", "--nope")]
    lines += [[*path, "nope"] for path, is_group in every if is_group]
    assert len(lines) > 150
    for line in lines:
        assert told(only_called(cli.app, line), line) == told(whole, line), line


def test_nothing_but_what_is_called_is_built() -> None:
    def built(*line: str) -> list[tuple[str, ...]]:
        return [
            path for path, is_group in _commands(typer.main.get_command(only_called(cli.app, line))) if not is_group
        ]

    assert built("jobs", "list", "--json") == [("jobs", "list")]
    assert built("explain-edge", "jobs", "list") == [("explain-edge",)]
    assert {path[0] for path in built("jobs", "--help")} == {"jobs"} and len(built("jobs", "--help")) > 5
    assert built("job", "list") == built("--version") == built() and len(built()) > 60


def test_every_command_prints_json_if_it_prints_a_result() -> None:
    sections = reference().split("\n## ")[1:]
    without = [section.splitlines()[0] for section in sections if "`--json`" not in section]
    assert without == []


def test_the_command_reference_is_up_to_date() -> None:
    """Regenerate it: python -m tracescribe.runs.command_reference > docs/commands.md"""
    assert (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8") == reference()
