"""Checking a connection before it is saved, while it is edited, and later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from byom.catalog import connections, credentials
from byom.catalog.build import target_of
from byom.catalog.forms import ConnectionForm
from byom.catalog.headers import clean_key, split
from byom.catalog.state import ConnectionRow
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, UnprocessableRequest
from byom.server.api.itself import mark_itself
from byom.server.api.schemas import check as schemas
from byom.server.api.services import Hub
from byom.upstream.check import check
from byom.upstream.client import tls_context
from byom.upstream.problems import Problem
from byom.upstream.report import CheckReport

_PARAM = {"unauthorized": "key", "invalid_key": "key", "unknown_model": "models", "models_not_listed": "models"}


class Candidate(msgspec.Struct, kw_only=True, frozen=True):
    """A connection to be checked, saved or not."""

    url: str
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    verify_tls: bool = True
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"Candidate({self.url!r})"


async def examine(
    hub: Hub, candidate: Candidate, models: Sequence[str], *, timeout: float, allow_spend: bool
) -> CheckReport:
    """What a check finds. Raises `ConfigError` for a CA file that cannot be read. ``timeout``: seconds a request."""
    if candidate.ca_file is not None:
        await asyncio.to_thread(_read_ca_file, candidate.ca_file)
    report = await check(
        candidate.url,
        candidate.key,
        tuple(models),
        hub.catalog.snapshot.network,
        headers=candidate.headers,
        verify_tls=candidate.verify_tls,
        ca_file=candidate.ca_file,
        timeout=timeout,
        allow_spend=allow_spend,
    )
    return await mark_itself(hub, report, verify_tls=candidate.verify_tls, ca_file=candidate.ca_file, timeout=timeout)


def _read_ca_file(path: str) -> None:
    try:
        tls_context(ca_file=path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no certificates"
        raise ConfigError(f"ca_file: {path} cannot be used: {reason}", param="ca_file") from None


def refuse_broken(report: CheckReport, *, hint: str = "Send save_anyway: true to save it nevertheless.") -> None:
    """Raise `UnprocessableRequest` with the first error of ``report``, and the whole of it in ``details``."""
    if report.ok:
        return
    first = first_error(report)
    raise UnprocessableRequest(
        f"{first or 'The connection could not be checked.'} {hint}",
        code=first.code if first else "check_failed",
        param=_PARAM.get(first.code, "url") if first else "url",
        details={"check": schemas.CheckReport.from_report(report).model_dump(mode="json")},
    )


def first_error(report: CheckReport) -> Problem | None:
    return next((problem for problem in report.problems if problem.level == "error"), None)


def candidate_of(
    url: str, key: str | None, headers: Mapping[str, str], *, verify_tls: bool, ca_file: str | None
) -> Candidate:
    """What a caller gave, cleaned as it will be stored. Raises `ConfigError` for a key or header that cannot be one."""
    plain, secret = split(headers)
    named = {name: value for name, value in (plain | secret).items() if value is not None}
    key = None if key is None else clean_key(key)
    return Candidate(url=url, key=key, headers=tuple(named.items()), verify_tls=verify_tls, ca_file=ca_file)


def of_form(form: ConnectionForm) -> Candidate:
    """Raises as `candidate_of` does."""
    return candidate_of(form.url or "", form.key, form.headers, verify_tls=form.verify_tls, ca_file=form.ca_file)


def of_row(tx: Transaction, row: ConnectionRow) -> Candidate:
    """With its secrets, as far as they are bound to the place that its URL names.

    Raises `Conflict` for a connection whose models run on the hub's own machine.
    """
    if row.url is None:
        raise Conflict(f"connection {row.name!r} has no URL to check: it is of kind {row.kind}", code="not_an_endpoint")
    target = target_of(row, tx.state, {}, partial(credentials.reveal, tx.vault))
    key, headers = None, dict(target.headers)
    if target.authorization is not None:
        scheme, _, rest = target.authorization.partition(" ")
        if scheme.lower() == "bearer" and rest:
            key = rest
        else:
            headers["authorization"] = target.authorization
    return Candidate(
        url=row.url, key=key, headers=tuple(headers.items()), verify_tls=target.verify_tls, ca_file=target.ca_file
    )


async def of_stored(hub: Hub, name: str) -> Candidate:
    """A stored connection, enabled or not. Raises `NotFound`, and `Conflict` as `of_row` does."""
    async with hub.catalog.change("check", dry_run=True) as tx:
        return of_row(tx, connections.find(tx.state, name))
