"""The asynchronous client: everything that a client does is written here, once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

from byom._client.answers import Answer, Ranking, Vectors, answer_of, ranking_answer, vectors_answer
from byom._client.calls import Prompt, chat_body, completion_body, texts_of
from byom._client.code import Credentials, OnEvent, Presets, told_work
from byom._client.handles import AsyncModelHandle, launch_fields
from byom._client.launching import Launches, Specs
from byom._client.link import Link, Method
from byom._client.place import Place, find_place
from byom._client.resources import Connections, Fields, Keys, Models, Prices, Settings, Users, listed
from byom._client.streams import AsyncChatStream
from byom._client.told import Told, told
from byom.models.wire import decoded

DEFAULT_TIMEOUT = 600.0


class AsyncClient:
    """Talks to a hub: ``async with AsyncClient() as client``. Belongs to one event loop.

    Args:
        url: of the hub; by default ``BYOM_URL``, else the hub that runs for the home folder, else one that is started
            in this process with the first call.
        api_key: by default ``BYOM_API_KEY``, else the admin key of the home folder for its own hub.
        home: by default ``BYOM_HOME``, else ``~/.byom``. Giving it passes over ``BYOM_URL``.
        timeout: seconds that an answer, or the next piece of one, may take; 0 for ever.

    Every method raises the errors of `byom.errors` with the hub's own message.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.link = Link(find_place(url, api_key, home), timeout=timeout)
        self.connections = Connections(self.link)
        self.models = Models(self.link)
        self.users = Users(self.link)
        self.keys = Keys(self.link)
        self.prices = Prices(self.link)
        self.settings = Settings(self.link)
        self.presets = Presets(self.link)
        self.credentials = Credentials(self.link)
        self.specs = Specs(self.link)
        self.launches = Launches(self.link)

    @property
    def place(self) -> Place:
        """Which hub this is."""
        return self.link.place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'in process' if self.place.in_process else self.place.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the hub; one in process ends with its last client. Idempotent."""
        await self.link.aclose()

    # -- the gateway

    @overload
    async def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[False] = False, **params: Any
    ) -> Answer: ...
    @overload
    async def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[True], **params: Any
    ) -> AsyncChatStream: ...
    async def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: bool = False, **params: Any
    ) -> Answer | AsyncChatStream:
        """Ask a chat model. ``prompt`` is a text or OpenAI's messages; ``params`` are sent as they are.

        With ``stream=True`` the answer's pieces are iterated as they come.
        """
        body = chat_body(model, prompt, system, params, stream=stream)
        return await self._generate("/v1/chat/completions", body, stream=stream)

    @overload
    async def complete(
        self, model: str, prompt: str | list[str], *, stream: Literal[False] = False, **params: Any
    ) -> Answer: ...
    @overload
    async def complete(
        self, model: str, prompt: str | list[str], *, stream: Literal[True], **params: Any
    ) -> AsyncChatStream: ...
    async def complete(
        self, model: str, prompt: str | list[str], *, stream: bool = False, **params: Any
    ) -> Answer | AsyncChatStream:
        """Let a model continue a text (``/v1/completions``)."""
        body = completion_body(model, prompt, params, stream=stream)
        return await self._generate("/v1/completions", body, stream=stream)

    async def _generate(self, path: str, body: dict[str, Any], *, stream: bool) -> Answer | AsyncChatStream:
        if stream:
            return await AsyncChatStream.open(self.link, path, body)
        found, said = await self._post(path, body)
        return await answer_of(found, body["model"], said)

    async def embed(self, /, model: str, texts: str | Sequence[str], **params: Any) -> Vectors:
        """One vector for each text, in their order."""
        given = texts_of(texts)
        found, said = await self._post("/v1/embeddings", {"model": model, "input": given} | params)
        return vectors_answer(found, len(given), model, said)

    async def rerank(
        self, /, model: str, query: str, documents: Sequence[str], *, top_n: int | None = None, **params: Any
    ) -> Ranking:
        """The documents by their relevance to the query, the best first."""
        given = texts_of(documents)
        body = {"model": model, "query": query, "documents": given} | ({"top_n": top_n} if top_n else {}) | params
        found, said = await self._post("/v1/rerank", body)
        return ranking_answer(found, given, model, said)

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Told]:
        response = await self.link.request("POST", path, body)
        return decoded(response.content, body["model"]), told(response.headers)

    async def model_names(self) -> list[str]:
        """The models that this key may use (``/v1/models``); needs no admin key."""
        return [entry["id"] for entry in listed(await self.link.json("GET", "/v1/models"))]

    async def request(self, /, method: Method, path: str, body: Any = None, **params: Any) -> Any:
        """Any route of the hub, JSON in and out: ``await client.request("POST", "/v1/moderations", {…})``."""
        return await self.link.json(method, path, body, params=params)

    # -- management

    async def connect(
        self,
        /,
        name: str,
        url: str,
        *,
        model: str | None = None,
        models: Sequence[str] | Mapping[str, str] = (),
        all: bool = False,  # noqa: A002 - the word of the command line
        key: str | None = None,
        check: bool = True,
        **fields: Any,
    ) -> Fields:
        """Connect an OpenAI-compatible server: one model, several, or all that it lists.

        ``models``: the server's names; a mapping gives each another name here: ``{"mistral-7b": "small"}``.
        ``fields``: further ones of a connection (headers, limits, timeouts, ca_file, …). Returns ``connection``, the
        names of its ``models``, and ``check``: what the check found. Raises what is wrong with the connection, in
        which case nothing is stored; ``check=False`` stores it untested.
        """
        named = [{"id": one, "name": name} for one, name in models.items()] if isinstance(models, Mapping) else models
        wanted = "all" if all else [*([model] if model else []), *named]
        body = {"name": name, "url": url, "models": wanted, "check": check, "key": key} | fields
        given = {field: value for field, value in body.items() if value is not None}
        made: Fields = await self.link.json("POST", "/api/connections", given)
        return made

    async def add(
        self,
        /,
        target: str,
        *,
        name: str | None = None,
        models: Sequence[str | Fields] | None = None,
        key: str | None = None,
        on_event: OnEvent | None = None,
        **fields: Any,
    ) -> Fields:
        """Make Python code on the hub's machine into models.

        ``target``: ``file.py:object``, ``module:object`` or a plugin's folder; a file or folder is a whole path.
        ``models``: the code's names of those that are wanted (all by default), or objects with ``id``, ``name``,
        ``params``. ``key`` is given to the code as ``api_key``. ``fields``: python, workers, threads, timeout,
        memory_mb, args, presets, limits, … ``on_event`` hears how far it is. Returns ``connection`` and ``models``.
        Raises what is wrong with the code, in which case nothing is stored.
        """
        body = {"target": target, "name": name, "key": key, "models": models} | fields
        given = {field: value for field, value in body.items() if value is not None}
        return await told_work(self.link, "/api/connections/code", given, on_event)

    # -- weights, under the names that users of Xinference know

    async def register_model(
        self, model_type: str, model: str | Mapping[str, Any], persist: bool = False, replace: bool = False
    ) -> None:
        """Register a spec; see `byom._client.launching.Specs.register`."""
        await self.specs.register(model, model_type, persist=persist, replace=replace)

    async def unregister_model(self, model_type: str, model_name: str) -> None:
        await self.specs.unregister(model_name, model_type)

    async def list_model_registrations(self, model_type: str) -> list[Fields]:
        return await self.specs.list(model_type)

    async def get_model_registration(self, model_type: str, model_name: str) -> Fields:
        return await self.specs.get(model_name, model_type)

    async def launch_model(self, /, model_name: str, **fields: Any) -> str:
        """Launch a registered model; its uid when it is ready. ``fields``: of ``launches.start``, and the names that
        Xinference has for them (model_engine, model_uid, replica, …); what is none of these goes to the engine."""
        return str((await self.launches.start(model_name, **launch_fields(fields)))["uid"])

    async def list_models(self) -> dict[str, Fields]:
        """What is launched and can be called, by uid."""
        found = await self.launches.list()
        return {one["uid"]: one for one in found if one["state"] in ("ready", "unloaded")}

    async def describe_model(self, model_uid: str) -> Fields:
        return await self.launches.get(model_uid)

    async def get_model(self, model_uid: str) -> AsyncModelHandle:
        """A handle with ``generate``, ``chat``, ``create_embedding`` and ``rerank``. Raises `NotFound`."""
        return AsyncModelHandle(self, model_uid, await self.launches.get(model_uid))

    async def terminate_model(self, model_uid: str) -> None:
        await self.launches.stop(model_uid)

    async def get_launch_model_progress(self, model_uid: str) -> Fields:
        return await self.launches.progress(model_uid)

    async def cancel_launch_model(self, model_uid: str) -> None:
        await self.launches.cancel(model_uid)

    async def info(self) -> Fields:
        """Version, time since the start and figures of the hub."""
        found: Fields = await self.link.json("GET", "/api/info")
        return found

    async def usage(self, by: str = "model", *, since: Any = None, until: Any = None) -> list[Fields]:
        """Calls, tokens and cost, added up by ``model``, ``key``, ``user``, ``connection``, ``day`` or ``hour``.

        ``since``, ``until``: seconds since the epoch, or RFC 3339. Costs are dollars as text, ``None``: not known.
        """
        params = {"by": by, "since": since, "until": until}
        return listed(await self.link.json("GET", "/api/usage", params=params))

    async def calls(self, /, limit: int = 50, *, cursor: str | None = None, **where: Any) -> Fields:
        """A page of the ledger, newest first: ``data`` and the cursor ``next``.

        ``where``: model, key, user, connection, state, since, until.
        """
        params: Mapping[str, Any] = {"limit": limit, "cursor": cursor} | where
        found: Fields = await self.link.json("GET", "/api/calls", params=params)
        return found

    async def apply(self, text: str, *, dry_run: bool = False, folder: str | None = None) -> Fields:
        """Make the catalog as a byom.toml declares it; returns what changed (or would). ``folder``: that of the file,
        where relative paths of code begin."""
        body = {"toml": text, "dry_run": dry_run} | ({"folder": folder} if folder is not None else {})
        plan: Fields = await self.link.json("POST", "/api/apply", body)
        return plan

    async def export(self) -> str:
        """A byom.toml of what there is, without secrets."""
        response = await self.link.request("GET", "/api/export")
        return response.text
