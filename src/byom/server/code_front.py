"""Talks to a host process about itself; the calls of models do not come by here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import ByomError, Unavailable

if TYPE_CHECKING:
    import httpx2

    from byom.host.child import ChildHost

SECONDS = 5.0
STATE_SECONDS = 1.5


class CodeRefused(Unavailable):
    """What a host says of its code; ``status`` is that of its answer."""

    code = "model_failed"


class CodeFront:
    """``url``: up to the routes' slash."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def __repr__(self) -> str:
        return f"CodeFront({self._url!r})"

    @classmethod
    def of(cls, child: ChildHost) -> CodeFront:
        """Raises `Unavailable` when no process listens."""
        return cls(child.base_url.removesuffix("/v1"), child.token)

    async def models(self, *, wait: bool) -> list[dict[str, Any]]:
        """What the code says of its models. ``wait``: until it is loaded, however long that takes.

        Raises `CodeRefused` with the reason when the code cannot be loaded.
        """
        answer = await self._ask("GET", "/v1/models", timeout=None if wait else SECONDS)
        found = [one.get("byom") or {} for one in answer.get("data", ()) if isinstance(one, dict)]
        return [one for one in found if one.get("name")]

    async def states(self) -> list[dict[str, Any]]:
        """``name``, ``state`` and ``error`` of each model. Raises `Unavailable` when it does not answer."""
        answer = await self._ask("GET", "/readyz", timeout=STATE_SECONDS, any_status=True)
        return [one for one in answer.get("models") or () if isinstance(one, dict)]

    async def configure(self, document: dict[str, Any]) -> None:
        """Raises `Unavailable` when it does not take it."""
        await self._ask("PUT", "/-/configuration", document)

    async def _ask(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = SECONDS, any_status: bool = False
    ) -> dict[str, Any]:
        import httpx2

        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        try:
            async with httpx2.AsyncClient(base_url=self._url, trust_env=False, verify=False) as client:
                response = await client.request(method, path, content=content, headers=headers, timeout=timeout)
        except httpx2.HTTPError as error:
            raise Unavailable(f"The process does not answer: {type(error).__name__}.", retry_after=1.0) from error
        if response.status_code >= 400 and not any_status:
            raise _refusal(response)
        return _object(response.content)


def _refusal(response: httpx2.Response) -> ByomError:
    error = _object(response.content).get("error") or {}
    message = error.get("message") if isinstance(error, dict) else None
    return CodeRefused(str(message or f"The process answers {response.status_code}."), details={"error": error})


def _object(content: bytes) -> dict[str, Any]:
    if not content:
        return {}
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise Unavailable("The process answers something that is no JSON.") from error
    return found if isinstance(found, dict) else {}
