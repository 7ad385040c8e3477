"""Reads a runbook as its user does: the messages of its symptoms, and the commands of its triage and its recovery."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.batch.job_site import Site

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
SECTIONS = ("Symptoms", "Triage", "Recovery", "Prevention")


@dataclass(frozen=True)
class Runbook:
    """One page.

    Attributes:
        name: of its file, without the suffix.
        sections: text by heading, in order; a recovery may have several ways, each under a heading of its own below.
    """

    name: str
    sections: dict[str, str]

    def symptoms(self, way: str | None = None) -> list[re.Pattern[str]]:
        """The messages that the page quotes, of one kind of trouble or all, one a line; `...` stands for anything."""
        text = self.sections["Symptoms"]
        if way is not None:
            text = dict(_split(text, "### "))[way]
        lines = [line for block in _blocks(text, "text") for line in block.splitlines()]
        return [re.compile(".*?".join(map(re.escape, line.strip().split("...")))) for line in lines if line.strip()]

    def commands(self, section: str, way: str | None = None) -> list[str]:
        """The blocks of commands of a section, or of one way in it."""
        text = self.sections[section]
        if way is not None:
            ways = dict(_split(text, "### "))
            text = ways[way]
        return _blocks(text, "sh")

    def perform(self, site: Site, section: str, way: str | None = None, **variables: str) -> str:
        """Run the very commands of a section, as they stand there, in one shell; what they said.

        Args:
            variables: that the page tells its reader to set.

        Raises:
            AssertionError: a command failed, or the section has none.
        """
        blocks = self.commands(section, way)
        assert blocks, f"{self.name}: no commands in {section} {way or ''}"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=site.folder,
            env=os.environ | site.environment | {"PATH": path} | variables,
            check=False,
        )
        assert done.returncode == 0, f"{self.name}, {section}: {done.stdout[-4000:]}"
        return done.stdout


def read_runbook(name: str) -> Runbook:
    """A page of the folder of runbooks."""
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    return Runbook(name, dict(_split(text, "## ")))


def check_symptoms(runbook: Runbook, *said: str, way: str | None = None) -> None:
    """Every message that the page quotes, of one kind of trouble or all, was said."""
    everything = "\n".join(said)
    words = " ".join(everything.split())  # a table breaks lines where its column ends
    missing = [
        pattern.pattern
        for pattern in runbook.symptoms(way)
        if not pattern.search(everything) and not pattern.search(words)
    ]
    assert missing == [], f"{runbook.name}: not said: {missing}; said: {everything[-4000:]}"


def _split(text: str, mark: str) -> list[tuple[str, str]]:
    """Headings of one depth with what stands below each."""
    parts = re.split(rf"^{mark}(.+)$", text, flags=re.MULTILINE)[1:]
    return [(heading.strip(), body) for heading, body in zip(parts[::2], parts[1::2], strict=True)]


def _blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
