"""The models behind one address."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import msgspec

from byom.models.agentstudio.upstream import AgentStudioChatModel
from byom.models.agentstudio.wire import MessageForm
from byom.types.model_info import ModelInfo
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.upstream.url import parse_endpoint

_ROUTE = "/generate"


def target_of(
    url: str, *, authorization: str | None = None, ca_file: str | None = None, verify_tls: bool = True
) -> Target:
    """Where the server is. User and password in ``url`` become its ``Authorization`` header. Raises `BadRequest`."""
    address, found = without_user(url.strip())
    endpoint = parse_endpoint(address.rstrip("/").removesuffix(_ROUTE))
    return Target(
        scheme=endpoint.scheme,
        host=endpoint.host,
        port=endpoint.port,
        base_path=endpoint.base_path,
        authorization=authorization or found,
        ca_file=ca_file,
        verify_tls=verify_tls,
    )


def without_user(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"


def arguments(
    url: str,
    names: Sequence[str],
    *,
    form: MessageForm = MessageForm.MESSAGE,
    concurrency: int = 1,
    timeout: float = 600.0,
    policy: NetworkPolicy | None = None,
    ca_file: str | None = None,
    verify_tls: bool = True,
) -> tuple[str, ...]:
    """What `ChildHost` runs ``byom.host.agentstudio`` with. Secrets are not among it: they go into its environment."""
    result = ["--url", url, "--form", form.value, "--concurrency", str(concurrency), "--timeout", str(timeout)]
    for name in names:
        result += ["--model", name]
    if policy is not None:
        result += ["--network", msgspec.json.encode(policy).decode()]
    if ca_file is not None:
        result += ["--ca-file", ca_file]
    return (*result, *(() if verify_tls else ("--insecure",)))


def served_models(
    url: str,
    names: Sequence[str],
    *,
    form: MessageForm = MessageForm.MESSAGE,
    concurrency: int = 1,
    policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    authorization: str | None = None,
    ca_file: str | None = None,
    verify_tls: bool = True,
) -> list[AgentStudioChatModel]:
    """One model for each name; they share the server's turns, since it has one process for all of them."""
    target = target_of(url, authorization=authorization, ca_file=ca_file, verify_tls=verify_tls)
    turns = asyncio.Semaphore(concurrency)
    return [
        AgentStudioChatModel(
            target,
            ModelInfo(name=name, abilities=frozenset({"chat", "vision"}), details={"streaming": False}),
            form=form,
            turns=turns,
            policy=policy,
            timeouts=timeouts,
        )
        for name in dict.fromkeys(names)
    ]
