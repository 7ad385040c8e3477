"""Does, once the server answers, what the first visitor would wait for: imports, templates, the API's description, gold.

In a thread of its own that ends with the process, and in steps between which it looks whether the server still runs. It
loads no model: weights are loaded by the live process alone. Whatever fails here fails again, and is told, where a visitor
asks for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

_MODULES = (
    "tracescribe.runs.review.agreement",
    "tracescribe.runs.review.listing",
    "tracescribe.runs.review.loading",
    "tracescribe.runs.review.saving",
    "tracescribe.runs.job_results.summary",
    "tracescribe.runs.benchmarking",
    "tracescribe.tracer.graph_json",
    "tracescribe.tracer.graph_native",
    "tracescribe.evals.matching",
    "tracescribe.evals.scores",
    "sklearn.metrics",  # what compares a report with gold: seconds on a busy machine
)
"""What handlers import when they are first called."""
_log = logging.getLogger(__name__)


def warm(app: FastAPI) -> threading.Thread:
    """Begin to warm an app up.

    Returns:
        The thread, which nobody need wait for.
    """
    stopped = threading.Event()
    app.state.on_stop = (*getattr(app.state, "on_stop", ()), stopped.set)

    def work() -> None:
        for step in _steps(app):
            if stopped.is_set():
                return
            try:
                step()
            except Exception as error:  # noqa: BLE001 - nobody asked for it yet; whoever does is told
                _log.info("not warmed up: %s: %s", type(error).__name__, error)

    thread = threading.Thread(target=work, name="warm up", daemon=True)
    thread.start()
    return thread


def _steps(app: FastAPI) -> Iterator[Callable[[], object]]:
    """What most visitors need comes first."""
    from tracescribe.runs.web.pages import environment
    from tracescribe.runs.web.reading_ahead import read_ahead

    context = app.state.context
    yield lambda: _lists(app)
    for file in (files("tracescribe.runs.web") / "templates").iterdir():
        yield partial(environment().get_template, file.name)
    yield lambda: read_ahead(context.store, context.settings)
    yield lambda: import_module("tracescribe.runs.web.feature_shelf").open_shelf(context.settings.evidence)
    for module in _MODULES:
        yield partial(import_module, module)
    yield lambda: import_module("tracescribe.runs.review.gold_lookup").open_gold_sets(context.settings.gold)
    yield app.openapi


def _lists(app: FastAPI) -> None:
    from tracescribe.runs.jobs.listing import list_jobs
    from tracescribe.runs.jobs.lookup import open_reader
    from tracescribe.runs.review.listing import ReportQuery, find_reports

    store = app.state.context.store
    find_reports(store, ReportQuery())
    with open_reader(store.address) as reader:
        list_jobs(reader, limit=1)
