"""The management API put together."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from byom import __version__
from byom.errors import ByomError
from byom.server.api import documentation, openapi
from byom.server.api.access import Guard
from byom.server.api.body_limit import BodyLimit
from byom.server.api.boundary import Boundary
from byom.server.api.dependencies import known_query
from byom.server.api.problems import error_response, of_exception
from byom.server.api.routes import (
    calls,
    code,
    connections,
    credentials,
    hub_wide,
    keys,
    launches,
    models,
    prices,
    settings,
    specs,
    users,
)
from byom.server.api.services import Hub

ROUTERS = (hub_wide, connections, code, models, specs, launches, users, keys, credentials, prices, settings, calls)


def create_api(hub: Hub) -> FastAPI:
    """An ASGI application that serves whole paths (``/api/…``): give it requests as they came, without a mount.

    It holds no state of its own and needs no start; ``hub`` is asked anew with each request.
    """
    app = FastAPI(
        title="BYOM management API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.hub = hub
    for module in ROUTERS:
        app.include_router(module.router, responses=openapi.FAILURES, dependencies=[Depends(known_query)])
    app.add_api_route("/api/openapi.json", _document, methods=["GET"], include_in_schema=False)
    app.add_api_route("/api/docs", documentation.docs_page, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=hub.settings.max_body_bytes)
    app.add_middleware(Guard, hub=hub)
    app.add_middleware(Boundary)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _document(request: Request) -> JSONResponse:
    return JSONResponse(openapi.document(request.app))


async def _refused(request: Request, error: Exception) -> Response:
    response = error_response(of_exception(error) or ByomError(str(error)))
    if response.status_code == 405:
        response.headers["allow"] = ", ".join(allowed_methods(request.scope))
    return response


def api_routes() -> list[APIRoute]:
    """The routes of all resources."""
    return [route for module in ROUTERS for route in module.router.routes if isinstance(route, APIRoute)]


def allowed_methods(scope: Any) -> list[str]:
    """All methods of the path: each route has its own, and Starlette tells those of the first alone."""
    found: set[str] = set()
    for route in api_routes():
        if route.matches(scope)[0] is not Match.NONE:
            found.update(route.methods or ())
    return sorted(found) or ["GET"]
