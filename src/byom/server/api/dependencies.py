"""What routes are given."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Query, Request

from byom.errors import Unauthenticated, UnprocessableRequest
from byom.server.api.access import CALLER, Caller
from byom.server.api.services import Hub


def hub_of(request: Request) -> Hub:
    return cast("Hub", request.app.state.hub)


def caller_of(request: Request) -> Caller:
    """Who asks. Raises `Unauthenticated` where the guard was left out: a route never runs for nobody."""
    caller = request.scope.get(CALLER)
    if not isinstance(caller, Caller):
        raise Unauthenticated("No API key was given.")
    return caller


def known_query(request: Request) -> None:
    """Refuse query parameters that the route does not have, or that come twice: no mistyped ``dry_run`` deletes."""
    route = request.scope["route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if given.count(name) > 1:
            raise UnprocessableRequest(f"{name[:100]!r}: it is given more than once", param=name[:200])
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "this path takes none"
            raise UnprocessableRequest(f"{name[:100]!r}: there is no such query parameter; {there}", param=name[:200])


HubOf = Annotated[Hub, Depends(hub_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
DryRun = Annotated[bool, Query(description="Only answer what would happen; change nothing.")]
