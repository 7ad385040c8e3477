"""What the first visitor after a start would wait for, read meanwhile: the newest report, its graph, the templates.

Nothing is shown to anybody here, so nothing is logged; whoever opens the report later is.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store
    from tracescribe.runs.web.settings import WebSettings

_log = logging.getLogger(__name__)
_TEMPLATES = ("report.html", "reports.html")


def read_ahead(store: Store, settings: WebSettings) -> str | None:
    """Read the report that was brought in or finished last, as its page would.

    Args:
        settings: of the app, whose evidence the page shows.

    Returns:
        Its case; None where there is no report, or it cannot be read: then its page says why.
    """
    from tracescribe.runs.review.listing import ReportQuery, find_reports
    from tracescribe.runs.review.stored import REPORT_FILE, artefacts_of_case, graph_artefact
    from tracescribe.runs.web.graph_data import read_case_graph
    from tracescribe.runs.web.graph_wire import DEFAULT_EDGES
    from tracescribe.runs.web.pages import environment
    from tracescribe.runs.web.report_reading import parsed_report
    from tracescribe.runs.web.routes.report import computed_page

    for template in _TEMPLATES:
        environment().get_template(template)
    try:
        found = find_reports(store, ReportQuery(per_page=1)).reports
        if not found:
            return None
        case_id = found[0].case_id
        had = artefacts_of_case(store, case_id)
        content = store.artefacts.read(had[REPORT_FILE])
        computed_page(sha256(content).hexdigest(), parsed_report(content), settings.evidence)
        if graph_artefact(had) is not None:
            read_case_graph(store, case_id).block(DEFAULT_EDGES, packed=True)
    except (TracescribeError, KeyError) as error:  # a case that was deleted meanwhile has no report
        _log.info("nothing is read ahead: %s", error)
        return None
    return case_id
