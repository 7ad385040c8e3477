"""The leaderboard as one web page: a static file without network, scripts from elsewhere or trusted text.

Comes in: the leaderboard's JSON and the results of a benchmark's cases. Goes out: HTML. Everything that agents or gold
wrote is escaped; links are relative and lead into the benchmark's folder only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.page.writing import render_page, write_page

__all__ = ["render_page", "write_page"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("tracescribe.evals.benchmark.page.writing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
