"""The command line: one typer application, one file for each command, and every error on one line.

Exit codes: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from tracescribe.runs import terminal
from tracescribe.runs.commands import register
from tracescribe.runs.commands.only_called import only_called
from tracescribe.runs.commands.plain_command import PlainGroup
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.provenance import version

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
TERMINATED = 143
"""128 + SIGTERM."""

app = typer.Typer(
    name="tracescribe",
    cls=PlainGroup,
    help="Interprets the circuits of language models: traces, labels, groups, tests, reports and scores.",
    epilog="Start with 'tracescribe demo'. Something amiss? 'tracescribe doctor'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tracescribe {version()}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error; works anywhere in the line.")
    ] = False,
) -> None:
    """Hold the options that belong to every command; `main` has already read `--debug`."""


register(app)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, wherever it stood before a `--`, and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"]
    return kept + list(arguments[end:]), len(kept) < end


def _usage_message(error: typer.TyperException) -> tuple[str, str]:
    """A usage error as one line and a hint where help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tracescribe"
    return error.format_message().rstrip("."), f"see '{command} --help'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit code: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted, 143 terminated.
    """
    arguments, debug = _take_debug(list(sys.argv[1:] if argv is None else argv))
    terminal.bear_any_text()
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, format="%(name)s: %(message)s")
    with warnings.catch_warnings(), _terminated_as_interrupted() as terminated:
        if not debug:
            # a library's warning is for us, not for the person who reads a result
            warnings.simplefilter("ignore")
        return _run(arguments, debug, terminated)


@contextmanager
def _terminated_as_interrupted() -> Iterator[threading.Event]:
    """Within the block SIGTERM ends the work as Ctrl-C does: whoever cleans up, or tells how to go on, does so too.

    Yields:
        Set once SIGTERM has come.
    """
    terminated = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield terminated  # python allows handlers in the main thread alone
        return

    def end(*_: object) -> None:
        terminated.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str], debug: bool, terminated: threading.Event) -> int:
    try:
        code = only_called(app, arguments)(args=arguments, prog_name="tracescribe", standalone_mode=False)
    except TracescribeError as error:
        return _fail(str(error), error.exit_code, debug)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            return 2
        message, hint = _usage_message(error)
        return _fail(message, error.exit_code, debug, hint)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped(terminated, debug)
    except BrokenPipeError:
        # whoever read our output went away; python would complain once more when it flushes
        sys.stdout = None
        return 1
    except Exception as error:  # noqa: BLE001  the last line of defence: people get one line, --debug the rest
        name = type(error).__name__
        return _fail(f"unexpected {name}: {error}", 1, debug, "run again with --debug to see where")
    if code == INTERRUPTED:
        return _stopped(terminated, debug)
    return code if isinstance(code, int) else 0


def _stopped(terminated: threading.Event, debug: bool) -> int:
    if terminated.is_set():
        return _fail("terminated", TERMINATED, debug)
    return _fail("interrupted", INTERRUPTED, debug)


def _fail(message: str, code: int, debug: bool, hint: str = "") -> int:
    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    terminal.print_error(message, hint)
    return code
