"""What of observability is switched on: options of the command line, handed to workers through the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tracescribe.tracer.errors import SettingError

TelemetryMode = Literal["off", "console", "otlp"]
MODES: tuple[TelemetryMode, ...] = ("off", "console", "otlp")
TELEMETRY = "TRACESCRIBE_TELEMETRY"
LOG_FILE = "TRACESCRIBE_LOG_FILE"
LOG_LEVEL = "TRACESCRIBE_LOG_LEVEL"
LOG_BYTES = "TRACESCRIBE_LOG_BYTES"
LOG_FILES = "TRACESCRIBE_LOG_FILES"
PRIVACY = "TRACESCRIBE_PRIVACY"
"""JSON of a job's `privacy`, for its workers."""
LEVELS = ("debug", "info", "warning", "error")
ENVIRONMENT = (TELEMETRY, LOG_FILE, LOG_LEVEL, LOG_BYTES, LOG_FILES, PRIVACY)
"""Variables of ours that workers on other machines must be given, beside those that begin with `OTEL_`."""
_DEFAULT_BYTES = 64 << 20
_DEFAULT_FILES = 5


@dataclass(frozen=True)
class ObservabilitySettings:
    """What is recorded.

    Attributes:
        mode: where spans and metrics go.
        log_file: file of JSON lines; None for none.
        log_level: least level that is written to it.
        log_bytes: size after which the file is put aside.
        log_files: files that are kept, the current one among them.
    """

    mode: TelemetryMode = "off"
    log_file: Path | None = None
    log_level: str = "info"
    log_bytes: int = _DEFAULT_BYTES
    log_files: int = _DEFAULT_FILES

    @classmethod
    def of(
        cls,
        telemetry: str | None = None,
        log_file: Path | None = None,
        log_level: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ObservabilitySettings:
        """Settings from options; what is None comes from the environment.

        Args:
            environment: None reads `os.environ`.

        Raises:
            SettingError: a value outside its range, or the `otel` extra is missing where it is needed.
        """
        source = os.environ if environment is None else environment
        mode = (telemetry or source.get(TELEMETRY) or "off").strip().lower()
        level = (log_level or source.get(LOG_LEVEL) or "info").strip().lower()
        if mode not in MODES:
            raise SettingError(
                f"--telemetry {mode[:40]!r}: expected one of {', '.join(MODES)}; correct it or {TELEMETRY}"
            )
        if mode != "off" and not _has_sdk():  # told before any job is submitted, not after
            raise SettingError(
                f"--telemetry {mode} needs the otel extra; install it with: pip install 'tracescribe[otel]'"
            )
        if level not in LEVELS:
            raise SettingError(
                f"--log-level {level[:40]!r}: expected one of {', '.join(LEVELS)}; correct it or {LOG_LEVEL}"
            )
        file = log_file if log_file is not None else Path(source[LOG_FILE]) if source.get(LOG_FILE) else None
        return cls(
            mode=next(one for one in MODES if one == mode),
            log_file=None if file is None else file.expanduser().absolute(),
            log_level=level,
            log_bytes=_number(source, LOG_BYTES, _DEFAULT_BYTES, least=4096),
            log_files=_number(source, LOG_FILES, _DEFAULT_FILES, least=1),
        )

    def variables(self) -> dict[str, str]:
        """The settings as environment variables, for workers."""
        told = {
            TELEMETRY: self.mode,
            LOG_LEVEL: self.log_level,
            LOG_BYTES: str(self.log_bytes),
            LOG_FILES: str(self.log_files),
        }
        return told if self.log_file is None else {**told, LOG_FILE: str(self.log_file)}

    @property
    def traces(self) -> bool:
        """Whether spans and metrics are recorded; OpenTelemetry's own switch goes first."""
        return self.mode != "off" and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def _has_sdk() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


def _number(source: Mapping[str, str], name: str, default: int, least: int) -> int:
    told = source.get(name, "").strip()
    if not told:
        return default
    if not told.isascii() or not told.isdigit() or int(told) < least:
        raise SettingError(f"{name} is {told[:40]!r}, expected a whole number from {least} on; correct it")
    return int(told)


def worker_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that a worker on another machine needs to record as this process does.

    Args:
        environment: None reads `os.environ`.
    """
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if name in ENVIRONMENT or name.startswith("OTEL_")}
