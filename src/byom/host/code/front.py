"""A host of code put together: its models as a directory, its own routes, its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from byom.errors import BadRequest, Unavailable
from byom.host import http
from byom.host.app import HostApp
from byom.host.code.configuration import HostConfig, decode, secrets_in
from byom.host.code.log_book import LogBook
from byom.host.code.model import WorkerModel
from byom.host.code.pool import Pool
from byom.host.code.secrecy import Secrecy
from byom.host.served import ServedModel
from byom.host.worker import system
from byom.models.agentstudio.generate import generate, parse_request
from byom.models.protocols import ChatModel

_MOST_LINES = 10_000


class CodeHost:
    """The models of a configuration's code. A `byom.host.directory.Directory`.

    Args:
        sink: gets each line of the log; it must not block.
        own_process: whether this process is there for the host alone. Then orphans of user code come to it, and it
            ends every child that it does not know.
    """

    def __init__(self, config: HostConfig, sink: Callable[[str], None], *, own_process: bool = False) -> None:
        self._own_process = own_process
        self._config = config
        self._secrecy = Secrecy()
        self._secrecy.know(secrets_in(config))
        self.log = LogBook(self._secrecy, sink)
        self._running: Pool | None = None

    def app(self, token: str | None, *, managed: bool) -> HostApp:
        """The application that serves it.

        ``managed``: whoever knows the token may say what runs here, and read what it writes. That is for the process
        of a hub; where the token is a key that callers have, they could run code of their own with it.
        """
        routes: dict[str, http.Route] = {"POST /generate": self._generate}
        if managed:
            routes |= {"PUT /-/configuration": self._configure, "GET /-/logs": self._logs}
        return HostApp(self, token, routes=routes)

    # --- the directory

    async def start(self) -> None:
        sweeps = self._own_process and system.adopt_orphans()
        if self._own_process:
            system.hide_memory()  # it has the credentials of all users, and the code runs as the same user
        self._running = Pool(self._config, self.log, self._secrecy, sweeps=sweeps)

    async def find(self, name: str) -> ServedModel:
        await self._pool.loaded()
        return WorkerModel(self._pool, self._pool.require(name))

    async def listing(self) -> list[ServedModel]:
        await self._pool.loaded()
        return [WorkerModel(self._pool, description) for description in self._pool.models.values()]

    def status(self, *, detailed: bool) -> dict[str, Any]:
        if self._running is None:
            return {"status": "starting", "models": []}
        states = self._running.states()
        found = {state["state"] for state in states}
        status = "ok" if "ready" in found else "starting" if "loading" in found else "failed"
        if not detailed:
            return {"status": status, "models": [{"name": one["name"], "state": one["state"]} for one in states]}
        return {
            "status": status,
            "models": states,
            "workers": self._running.workers(),
            "waiting": self._running.waiting,
        }

    async def aclose(self) -> None:
        if self._running is not None:
            await self._running.close()

    @property
    def _pool(self) -> Pool:
        if self._running is None:
            raise Unavailable("The host is starting.", retry_after=1.0)
        return self._running

    # --- its own routes

    async def _configure(self, incoming: http.Incoming) -> None:
        config = decode(incoming.body)
        self._secrecy.know(secrets_in(config))
        await self._pool.configure(config)
        await http.send_json(incoming.send, b'{"status": "ok"}', incoming.request_id)

    async def _logs(self, incoming: http.Incoming) -> None:
        given = parse_qs(incoming.scope["query_string"].decode("latin-1")).get("lines", ["200"])[0]
        if not given.isdecimal():
            raise BadRequest("lines must be a whole number.", param="lines")
        lines = self.log.tail(min(int(given), _MOST_LINES))
        await http.send_json(incoming.send, msgspec.json.encode({"lines": lines}), incoming.request_id)

    async def _generate(self, incoming: http.Incoming) -> None:
        request = parse_request(incoming.body)
        model = await self.find(request.model)
        if not isinstance(model, ChatModel):
            raise BadRequest(f"The model {request.model!r} does not do chat.", param="model")
        body = await generate(msgspec.structs.asdict(request), lambda _: model)
        await http.send_json(incoming.send, body, incoming.request_id)
