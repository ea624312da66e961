"""Whether a URL leads back to this very hub, under whatever name or address: calls would go round in circles."""

from __future__ import annotations

from byom.server.api.services import Hub
from byom.server.identity import HEADER, identity_of
from byom.upstream.client import client_for
from byom.upstream.exchange import Answer, exchange, target_of
from byom.upstream.network import default_resolver
from byom.upstream.problems import Problem
from byom.upstream.report import CheckReport

LONGEST = 3.0
"""Seconds. Whoever does not say which hub it is in that time is taken for another server."""
_OTHERS = frozenset({None, "BYOM"})
"""What a hub may have been taken for; a server that was recognised as another kind is not asked."""


async def mark_itself(
    hub: Hub, report: CheckReport, *, verify_tls: bool, ca_file: str | None, timeout: float
) -> CheckReport:
    """``report``; where it found this hub, with that as its only problem. Sends one ``GET`` without the key."""
    endpoint = report.endpoint
    if endpoint is None or report.server not in _OTHERS or not any(tried.status for tried in report.tried):
        return report
    path = f"{endpoint.base_path.removesuffix('/v1')}/livez"
    target = target_of(endpoint, None, verify_tls=verify_tls, ca_file=ca_file)
    policy = hub.catalog.snapshot.network
    async with client_for(target, policy) as client:
        answer = await exchange(client, endpoint, default_resolver(), "GET", path, timeout=min(timeout, LONGEST))
    own = identity_of(hub.settings.home, hub.started_at)
    if isinstance(answer, Answer) and answer.headers.get(HEADER) == own:
        report.problems = [
            Problem(
                code="itself",
                message=f"{endpoint.url()} is this hub itself",
                hint="What it has is here already: 'byom models' lists it. Connect the server that the model runs on.",
                url=answer.url,
            )
        ]
    return report
