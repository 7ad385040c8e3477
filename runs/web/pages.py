"""Turns templates into pages. Every value is escaped, and invisible characters in it are shown."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.web.context import context_of
from tracescribe.runs.web.moments import time_element
from tracescribe.runs.web.session_store import masked

if TYPE_CHECKING:
    import jinja2


@cache
def environment() -> jinja2.Environment:
    """The templates of `runs/web/templates`."""
    from tracescribe.agents.rendering.templating import visible_environment

    made = visible_environment("tracescribe.runs.web")
    made.filters["moment"] = time_element
    return made


def page(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        template: file name in `runs/web/templates`; it extends `base.html`.
        status_code: of the response.
        values: what the template shows. `visitor`, `csrf`, `path` and `log_in` are there always.
    """
    shown = {
        "visitor": getattr(request.state, "visitor", None),
        "csrf": masked(getattr(request.state, "csrf", "")),
        "path": request.url.path,
        "log_in": context_of(request).settings.log_in,
        **values,
    }
    return HTMLResponse(environment().get_template(template).render(shown), status_code=status_code)
