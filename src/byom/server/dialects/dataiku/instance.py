"""What a client asks of the instance itself: who am I, which projects are there, which version is this.

A hub has no projects. Every key of a project leads to the same models; one is listed, for clients that look first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom import __version__
from byom.server.dialects.dataiku.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.dataiku.services import Services

PROJECT = "BYOM"
EVERYBODY = "local"
"""Who calls a hub without keys."""


def login_of(request: Request) -> str:
    return request.caller.user_name if request.caller is not None else EVERYBODY


def groups_of(request: Request) -> list[str]:
    return ["administrators"] if request.is_admin else []


async def auth_info(_services: Services, request: Request) -> Json:
    login = login_of(request)
    info: dict[str, Any] = {
        "authIdentifier": login,
        "associatedDSSUser": login,
        "userProfile": "ADMINISTRATOR" if request.is_admin else "READER",
        "groups": groups_of(request),
    }
    if request.query.get("withSecrets", "").lower() == "true":
        info["secrets"] = []
    return Json(info)


async def instance_info(_services: Services, _request: Request) -> Json:
    return Json({"nodeId": "byom", "nodeName": "byom", "nodeType": "DESIGN", "byomVersion": __version__})


async def list_projects(_services: Services, _request: Request) -> Json:
    return Json([_project(PROJECT)])


async def project_summary(_services: Services, request: Request) -> Json:
    return Json(_project(request.places[0]))


async def project_metadata(_services: Services, request: Request) -> Json:
    kept: dict[str, Any] = {"label": request.places[0], "shortDesc": "", "description": "", "tags": []}
    return Json(kept | {"customFields": {"kv": {}}, "checklists": {"checklists": []}})


async def nothing(_services: Services, _request: Request) -> Json:
    """Kinds of things that a hub has none of."""
    return Json([])


def _project(key: str) -> dict[str, Any]:
    return {"projectKey": key, "name": key, "ownerLogin": "", "shortDesc": "", "tags": []}
