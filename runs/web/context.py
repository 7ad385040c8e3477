"""What every request handler may use: the open store, the settings, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from tracescribe.runs.access.roles import Permission, Principal
from tracescribe.runs.web.opened import OpenedMemory, note_for_page, open_for_page
from tracescribe.runs.web.outage import Outage
from tracescribe.runs.web.rate import RateLimits
from tracescribe.runs.web.refused import RefusedMemory
from tracescribe.runs.web.session_store import web_key
from tracescribe.runs.web.settings import WebSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from starlette.responses import Response

    from tracescribe.runs.store.database import Store


@dataclass(frozen=True, eq=False)
class WebContext:
    """Of one running app; at `request.app.state.context`.

    Attributes:
        limits: how often visitors may do things.
        opened: what was opened by whom in the last minutes.
        refused: what was refused to whom in the last minute.
        outage: whether the store was away a moment ago.
        key: that CSRF tokens are made with.
    """

    store: Store
    settings: WebSettings
    limits: RateLimits
    opened: OpenedMemory = field(default_factory=OpenedMemory)
    refused: RefusedMemory = field(default_factory=RefusedMemory)
    outage: Outage = field(default_factory=Outage)
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, store: Store, settings: WebSettings) -> WebContext:
        """The context of a new app."""
        return cls(store, settings, RateLimits(settings), key=web_key(store))

    def open(self, visitor: Principal, case_id: str, name: str = "report.json") -> bytes:
        """An artefact for a page or its data; see `open_for_page`."""
        return open_for_page(self.store, self.opened, visitor, case_id, name)

    def note(self, visitor: Principal, case_id: str, name: str = "report.json") -> str:
        """That an artefact is opened whose content is in memory, or told of otherwise; see `note_for_page`."""
        return note_for_page(self.store, self.opened, visitor, case_id, name)


def context_of(request: Request) -> WebContext:
    """The context of the app that serves this request."""
    found: WebContext = request.app.state.context
    return found


def visitor_of(request: Request) -> Principal:
    """Who asks, as the middleware found out.

    Raises:
        TokenRefusedError: nobody is logged in where that is needed.
    """
    from tracescribe.runs.access.errors import TokenRefusedError

    found: Principal | None = getattr(request.state, "visitor", None)
    if found is None:
        raise TokenRefusedError("nobody is logged in; log in with a token")
    return found


def allowed(permission: Permission) -> Callable[[Request], Principal]:
    """A dependency that gives the visitor, or refuses one whose role does not include the permission.

    The refusal is logged in the audit log with the request's path (never its query) as the subject; of many at one route in
    one minute the first, with their number in the next entry.
    """

    def check(request: Request) -> Principal:
        from tracescribe.runs.access.reading import require, require_logged

        visitor, context = visitor_of(request), context_of(request)
        if visitor.may(permission):
            return visitor
        asked = getattr(request.scope.get("route"), "path", "")  # as the route has it: of ids there are too many
        untold = context.refused.to_tell(visitor.name, f"{request.method} {asked}")
        if untold is None:
            require(visitor, permission)
        require_logged(context.store, visitor, permission, request.url.path[:200], untold=untold or 0)
        return visitor

    return check


def right_first(permission: Permission) -> type[APIRoute]:
    """A route that asks for a permission before it reads the body, which may be large; dependencies come after it."""
    check = allowed(permission)

    class RightFirst(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def checked(request: Request) -> Response:
                await run_in_threadpool(check, request)
                return await handle(request)

            return checked

    return RightFirst


Context = Annotated[WebContext, Depends(context_of)]
"""Annotation of a handler's parameter that gets the context."""
Visitor = Annotated[Principal, Depends(visitor_of)]
"""Annotation of a handler's parameter that gets who asks, whatever their role."""
