"""Loads code once to see what it offers, and keeps nothing of it running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from byom.errors import ConfigError, Unavailable
from byom.host.child import ChildHost, HostStartError
from byom.server.code_front import CodeFront, CodeRefused
from byom.server.code_host import MODULE

_LOOK_SECONDS = 0.1


async def examined(
    document: dict[str, Any], *, timeout: float, on_output: Callable[[bytes], None] | None = None
) -> list[dict[str, Any]]:
    """What the code says of its models: each a `byom.host.worker.contract.ModelDescription` as JSON.

    ``document``: the configuration of its process. ``timeout``: seconds until the code must be loaded.
    Raises `ConfigError` with what the code, or loading it, complains about.
    """
    child = ChildHost(MODULE, configuration=lambda: msgspec.json.encode(document), on_output=on_output)
    try:
        async with asyncio.timeout(timeout):
            await child.start()
            return await _loaded(CodeFront.of(child))
    except CodeRefused as error:
        message = error.message.removeprefix("The model is not ready: ")
        raise ConfigError(message, code="code_not_loaded", param="target") from None
    except HostStartError as error:
        raise ConfigError(f"The code could not be run. {error}", code="code_not_loaded", param="target") from error
    except TimeoutError:
        text = f"The code was not loaded within {timeout:g} s. What it writes is in the log."
        raise ConfigError(text, code="code_not_loaded", param="target") from None
    finally:
        await child.stop(grace=1.0)


async def _loaded(front: CodeFront) -> list[dict[str, Any]]:
    """The models, or the first word that they cannot be: a process tries again by itself, which is not waited for."""
    listing = asyncio.ensure_future(front.models(wait=True))
    try:
        while not listing.done():
            await asyncio.wait({listing}, timeout=_LOOK_SECONDS)
            if not listing.done():
                _refuse(await front.states())
        models = listing.result()
    finally:
        listing.cancel()
        await asyncio.gather(listing, return_exceptions=True)
    if not models:
        raise Unavailable("The code has no models.")
    return models


def _refuse(states: list[dict[str, Any]]) -> None:
    failed = [one for one in states if one.get("state") == "failed" and one.get("error")]
    if failed:
        raise CodeRefused(str(failed[0]["error"]))
