"""Switches observability on around a job or a worker, and off again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from tracescribe.runs.telemetry.settings import PRIVACY, ObservabilitySettings
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.runs.jobs.specification import Privacy
    from tracescribe.tracer.redaction import Redactor

_LOGGERS = (None, "opentelemetry")
"""The root, and the SDK's own, which hands nothing on to it."""
_consoles: list[TextIO] = []


@contextmanager
def observe_job(settings: ObservabilitySettings, job_id: str, privacy: Privacy) -> Iterator[None]:
    """Record what this process does for a job, and let workers that are started inside do the same.

    Raises:
        SettingError: the SDK is missing, or the log file cannot be written to.
    """
    from tracescribe.tracer.redaction import redactor_of

    told = {PRIVACY: json.dumps({"patterns": privacy.patterns, "more": privacy.more})}
    variables = {**settings.variables(), **told}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with _recording(settings, job_id, f"supervisor-{os.getpid()}", redactor_of(privacy.patterns, privacy.more)):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def observe_worker(job_id: str, worker_id: str) -> Iterator[None]:
    """Record what this worker does, as its supervisor's environment tells; nothing where it tells nothing.

    What cannot be switched on stays off: a worker never fails for it.
    """
    from tracescribe.runs.telemetry.log_lines import log_place

    with log_place(job_id=job_id, worker_id=worker_id):
        try:
            settings = ObservabilitySettings.of()
            recording = _recording(settings, job_id, worker_id, _told_redactor(), _consoles[-1] if _consoles else None)
            recording.__enter__()
        except SettingError:
            yield
            return
        try:
            yield
        finally:
            recording.__exit__(None, None, None)


def keep_console() -> None:
    """Keep standard error for spans before a worker gives it away; only where a console is asked for."""
    if ObservabilitySettings.of().mode == "console":
        _consoles.append(os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace"))


@contextmanager
def _recording(
    settings: ObservabilitySettings, job_id: str, instance: str, redactor: Redactor, console: TextIO | None = None
) -> Iterator[None]:
    logs = None if settings.log_file is None else _log_to_file(settings, job_id, redactor)
    pipeline = None
    try:
        if settings.traces and settings.mode != "off":
            from tracescribe.runs.telemetry.pipeline import start_pipeline

            pipeline = start_pipeline(
                settings.mode, job_id=job_id, instance=instance, redactor=redactor, console=console
            )
        yield
    finally:
        if pipeline is not None:
            pipeline.close()
        if logs is not None:
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(logs)
            logs.close()


def _log_to_file(settings: ObservabilitySettings, job_id: str, redactor: Redactor) -> logging.Handler:
    from tracescribe.runs.telemetry.log_file import SharedLogFile
    from tracescribe.runs.telemetry.log_lines import JsonLines

    assert settings.log_file is not None
    handler = SharedLogFile(settings.log_file, settings.log_bytes, settings.log_files)
    handler.setFormatter(JsonLines(redactor, job_id=job_id))
    handler.setLevel(settings.log_level.upper())
    try:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        handler.check()
    except OSError as error:
        raise SettingError(
            f"--log-file {settings.log_file}: {error.strerror or error}; name a file that can be written"
        ) from None
    root = logging.getLogger()
    for shown in root.handlers:  # what is logged for the file is not for the terminal too
        shown.setLevel(shown.level or root.level)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    own = logging.getLogger("tracescribe")
    own.setLevel(min(own.level or logging.WARNING, handler.level))
    return handler


def _told_redactor() -> Redactor:
    from tracescribe.tracer.redaction import redactor_of, secrets_redactor

    try:
        told = json.loads(os.environ.get(PRIVACY, "{}"))
        return redactor_of(told.get("patterns", ()), told.get("more", {}))
    except (ValueError, AttributeError, TypeError, SettingError):
        return secrets_redactor()
