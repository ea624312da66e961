"""The blocking client: each method is the asynchronous one, run on the portal's loop."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, Self, TypeVar, cast, overload

from byom._client import code, launching, resources
from byom._client.aio import DEFAULT_TIMEOUT, AsyncClient
from byom._client.answers import Answer, Piece
from byom._client.calls import Prompt
from byom._client.handles import AsyncModelHandle
from byom._client.place import Place
from byom._client.portal import PORTAL
from byom._client.streams import AsyncChatStream

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
Standing = TypeVar("Standing", covariant=True)


class _Facade(Protocol[Standing]):
    @property
    def aio(self) -> Standing: ...


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """A method of a facade from the method of the same name of what it stands before."""

    @functools.wraps(method)
    def call(self: _Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        overridden: Callable[P, Coroutine[Any, Any, R]] = getattr(self.aio, method.__name__)
        return PORTAL.call(overridden(*args, **kwargs))

    return call


class ChatStream:
    """Iterates the pieces of an answer as they come; closing it, or letting go of it, stops the call."""

    def __init__(self, stream: AsyncChatStream) -> None:
        self.aio = stream

    @property
    def request_id(self) -> str:
        return self.aio.request_id

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        piece = PORTAL.call(anext(self.aio, None))
        if piece is None:
            raise StopIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    answer = blocking(AsyncChatStream.answer)
    close = blocking(AsyncChatStream.aclose)


class _Resource:
    def __init__(self, aio: Any) -> None:
        self.aio = aio

    list = blocking(resources.Resource.list)


class _NamedResource(_Resource):
    get = blocking(resources.NamedResource.get)
    create = blocking(resources.NamedResource.create)
    update = blocking(resources.NamedResource.update)
    rename = blocking(resources.NamedResource.rename)
    delete = blocking(resources.NamedResource.delete)


class Connections(_NamedResource):
    """``client.connections``"""

    check = blocking(resources.Connections.check)
    check_unsaved = blocking(resources.Connections.check_unsaved)
    host = blocking(resources.Connections.host)
    restart = blocking(resources.Connections.restart)
    logs = blocking(resources.Connections.logs)


class Models(_NamedResource):
    """``client.models``"""

    probe = blocking(resources.Models.probe)
    probe_plan = blocking(resources.Models.probe_plan)


class Users(_NamedResource):
    """``client.users``"""


class Keys(_NamedResource):
    """``client.keys``"""

    revoke = blocking(resources.Keys.revoke)


class Prices(_Resource):
    """``client.prices``"""

    put = blocking(resources.Prices.put)
    delete = blocking(resources.Prices.delete)


class Presets:
    """``client.presets``"""

    def __init__(self, aio: code.Presets) -> None:
        self.aio = aio

    list = blocking(code.Presets.list)
    get = blocking(code.Presets.get)
    create = blocking(code.Presets.create)
    update = blocking(code.Presets.update)
    delete = blocking(code.Presets.delete)


class Credentials:
    """``client.credentials``"""

    def __init__(self, aio: code.Credentials) -> None:
        self.aio = aio

    list = blocking(code.Credentials.list)
    set = blocking(code.Credentials.set)
    delete = blocking(code.Credentials.delete)


class Specs:
    """``client.specs``"""

    def __init__(self, aio: launching.Specs) -> None:
        self.aio = aio

    list = blocking(launching.Specs.list)
    get = blocking(launching.Specs.get)
    register = blocking(launching.Specs.register)
    unregister = blocking(launching.Specs.unregister)


class Launches:
    """``client.launches``"""

    def __init__(self, aio: launching.Launches) -> None:
        self.aio = aio

    list = blocking(launching.Launches.list)
    get = blocking(launching.Launches.get)
    start = blocking(launching.Launches.start)
    explain = blocking(launching.Launches.explain)
    stop = blocking(launching.Launches.stop)
    cancel = blocking(launching.Launches.cancel)
    progress = blocking(launching.Launches.progress)
    load = blocking(launching.Launches.load)
    unload = blocking(launching.Launches.unload)
    scale = blocking(launching.Launches.scale)
    remove_replica = blocking(launching.Launches.remove_replica)
    logs = blocking(launching.Launches.logs)
    engines = blocking(launching.Launches.engines)
    cached = blocking(launching.Launches.cached)
    remove_cached = blocking(launching.Launches.remove_cached)


class ModelHandle:
    """A model by its uid; see `byom._client.handles.AsyncModelHandle`."""

    def __init__(self, aio: AsyncModelHandle) -> None:
        self.aio = aio

    def __repr__(self) -> str:
        return f"ModelHandle({self.aio.uid!r})"

    @property
    def uid(self) -> str:
        return self.aio.uid

    @property
    def description(self) -> dict[str, Any]:
        return self.aio.description

    generate = blocking(AsyncModelHandle.generate)
    chat = blocking(AsyncModelHandle.chat)
    create_embedding = blocking(AsyncModelHandle.create_embedding)
    rerank = blocking(AsyncModelHandle.rerank)


class Settings:
    """``client.settings``"""

    def __init__(self, aio: resources.Settings) -> None:
        self.aio = aio

    get = blocking(resources.Settings.get)
    update = blocking(resources.Settings.update)


class Client:
    """`AsyncClient` for code that blocks: the same arguments, methods and errors. Any thread may use it."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.aio = AsyncClient(url, api_key, home=home, timeout=timeout)
        self.connections = Connections(self.aio.connections)
        self.models = Models(self.aio.models)
        self.users = Users(self.aio.users)
        self.keys = Keys(self.aio.keys)
        self.prices = Prices(self.aio.prices)
        self.settings = Settings(self.aio.settings)
        self.presets = Presets(self.aio.presets)
        self.credentials = Credentials(self.aio.credentials)
        self.specs = Specs(self.aio.specs)
        self.launches = Launches(self.aio.launches)
        PORTAL.before_exit(self.aio.aclose)

    @property
    def place(self) -> Place:
        """Which hub this is."""
        return self.aio.place

    def __repr__(self) -> str:
        return repr(self.aio).removeprefix("Async")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the hub; one in process ends with its last client. Idempotent."""
        PORTAL.forget(self.aio.aclose)
        PORTAL.call(self.aio.aclose())

    @overload
    def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[False] = False, **params: Any
    ) -> Answer: ...
    @overload
    def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[True], **params: Any
    ) -> ChatStream: ...
    def chat(
        self, model: str, prompt: Prompt, *, system: str | None = None, stream: bool = False, **params: Any
    ) -> Answer | ChatStream:
        """See `AsyncClient.chat`."""
        flag = cast("Literal[True]", stream)
        return _shown(PORTAL.call(self.aio.chat(model, prompt, system=system, stream=flag, **params)))

    @overload
    def complete(
        self, model: str, prompt: str | list[str], *, stream: Literal[False] = False, **params: Any
    ) -> Answer: ...
    @overload
    def complete(self, model: str, prompt: str | list[str], *, stream: Literal[True], **params: Any) -> ChatStream: ...
    def complete(
        self, model: str, prompt: str | list[str], *, stream: bool = False, **params: Any
    ) -> Answer | ChatStream:
        """See `AsyncClient.complete`."""
        flag = cast("Literal[True]", stream)
        return _shown(PORTAL.call(self.aio.complete(model, prompt, stream=flag, **params)))

    embed = blocking(AsyncClient.embed)
    rerank = blocking(AsyncClient.rerank)
    model_names = blocking(AsyncClient.model_names)
    request = blocking(AsyncClient.request)
    connect = blocking(AsyncClient.connect)
    add = blocking(AsyncClient.add)
    info = blocking(AsyncClient.info)
    register_model = blocking(AsyncClient.register_model)
    unregister_model = blocking(AsyncClient.unregister_model)
    list_model_registrations = blocking(AsyncClient.list_model_registrations)
    get_model_registration = blocking(AsyncClient.get_model_registration)
    launch_model = blocking(AsyncClient.launch_model)
    list_models = blocking(AsyncClient.list_models)
    describe_model = blocking(AsyncClient.describe_model)
    terminate_model = blocking(AsyncClient.terminate_model)
    get_launch_model_progress = blocking(AsyncClient.get_launch_model_progress)
    cancel_launch_model = blocking(AsyncClient.cancel_launch_model)

    def get_model(self, model_uid: str) -> ModelHandle:
        """A handle with ``generate``, ``chat``, ``create_embedding`` and ``rerank``. Raises `NotFound`."""
        return ModelHandle(PORTAL.call(self.aio.get_model(model_uid)))

    usage = blocking(AsyncClient.usage)
    calls = blocking(AsyncClient.calls)
    apply = blocking(AsyncClient.apply)
    export = blocking(AsyncClient.export)


def _shown(answer: Answer | AsyncChatStream) -> Answer | ChatStream:
    return ChatStream(answer) if isinstance(answer, AsyncChatStream) else answer
