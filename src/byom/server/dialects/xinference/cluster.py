"""What clients ask of the cluster itself: whether to send a key, how it is, which machines it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom import __version__
from byom.catalog.keys import authenticate
from byom.errors import BadRequest, NotFound
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services


async def auth(services: Services, _request: Request) -> Json:
    """Clients drop the key that they were given where this says false."""
    return Json({"auth": not services.hub.settings.no_auth})


async def token(services: Services, request: Request) -> Json:
    """``login``: the password is a key of the hub, and the token that comes back is that key.

    Raises `Unauthenticated`. A hub has no passwords that could be guessed; the user name is not looked at.
    """
    password = request.fields().get("password")
    if not services.hub.settings.no_auth:
        services.hub.catalog.touch(authenticate(services.snapshot, password if isinstance(password, str) else "").id)
    return Json({"access_token": password or "", "token_type": "bearer"})


async def status(services: Services, _request: Request) -> Json:
    """Anybody may ask, so it tells nothing of what the hub has."""
    return Json({"uptime": round(services.hub.uptime, 3), "workers": {}})


async def info(services: Services, _request: Request) -> Json:
    return Json([{"node_type": "Supervisor", "ip_address": services.address, "gpu_count": 0, "gpu_vram_total": 0}])


async def version(_services: Services, _request: Request) -> Json:
    return Json({"version": __version__, "full-revisionid": None, "dirty": False, "error": None})


async def devices(services: Services, _request: Request) -> Json:
    """How many GPUs there are."""
    return Json(await services.gpu_count())


async def address(services: Services, _request: Request) -> Json:
    return Json(services.address)


async def supervisor(services: Services, _request: Request) -> Json:
    return Json({"supervisor_ip": services.address})


async def workers(services: Services, _request: Request) -> Json:
    """One place: this hub. ``models``: what runs there, by uid."""
    models: dict[str, Any] = {run.uid: services.description(run.uid) for run in await services.running()}
    return Json([{"work-ip": services.address, "models": models}])


async def vllm_models(_services: Services, _request: Request) -> Json:
    """A hub keeps no list of models: whatever vLLM can serve is launched with it."""
    return Json({"chat": [], "generate": []})


async def abort_cluster(_services: Services, _request: Request) -> Json:
    raise BadRequest("A hub is stopped where it was started (Ctrl-C or SIGTERM to 'byom serve'), not by a client.")


async def not_here(_services: Services, _request: Request) -> Json:
    raise NotFound(
        "This hub has no such part: its processes are started anew by themselves when they end, and launched models "
        "come back with it."
    )
