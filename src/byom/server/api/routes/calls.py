"""``/api/usage`` and ``/api/calls``: what the ledger has. A key of role inference sees its own calls only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from byom.errors import BadRequest, PermissionDenied
from byom.ledger.queries import LONGEST_PAGE, By
from byom.ledger.reports import CallFilter
from byom.ledger.row import State
from byom.server.api.access import Caller
from byom.server.api.csv_table import CSV, csv_response, wants_csv
from byom.server.api.dependencies import CallerOf, HubOf
from byom.server.api.schemas import call as calls
from byom.server.api.schemas import usage as usages
from byom.server.api.schemas.fields import Filter
from byom.server.api.services import Hub

router = APIRouter(prefix="/api", tags=["usage"])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AS_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
_RANGE = "RFC 3339, or seconds since the epoch; UTC where it has no zone."
Since = Annotated[datetime | None, Query(description=f"From then on. {_RANGE}")]
Until = Annotated[datetime | None, Query(description=f"Before then. {_RANGE}")]


@router.get("/usage", responses=_AS_CSV, response_model=usages.Usage)
async def get_usage(
    request: Request,
    hub: HubOf,
    caller: CallerOf,
    by: Annotated[By, Query()] = "model",
    model: Annotated[Filter | None, Query()] = None,
    key: Annotated[Filter | None, Query(description="A key's id.")] = None,
    user: Annotated[Filter | None, Query()] = None,
    connection: Annotated[Filter | None, Query()] = None,
    since: Since = None,
    until: Until = None,
) -> usages.Usage | Response:
    """Calls, tokens and cost, added up: everybody's for an admin, else those of the caller's own key.
    `Accept: text/csv` gives a table."""
    key = _key(caller, key)
    where = CallFilter(model=model, key=key, user=user, connection=connection)
    found = await hub.ledger.usage(by, *_range(since, until), where)
    lines = [usages.UsageLine.of_line(line, _label(hub, by, line.name)) for line in found]
    if wants_csv(request):
        return csv_response(lines, usages.CSV_COLUMNS)
    return usages.Usage(by=by, data=lines, total=usages.UsageTotal.total(found))


def _label(hub: Hub, by: By, name: str) -> str | None:
    key = hub.catalog.state.keys.get(name) if by == "key" else None
    return None if key is None else key.name


@router.get("/calls", responses=_AS_CSV, response_model=calls.Calls)
async def list_calls(
    request: Request,
    hub: HubOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
    cursor: Annotated[Filter | None, Query(description="`next` of the page before.")] = None,
    model: Annotated[Filter | None, Query()] = None,
    key: Annotated[Filter | None, Query(description="A key's id.")] = None,
    user: Annotated[Filter | None, Query()] = None,
    connection: Annotated[Filter | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    since: Since = None,
    until: Until = None,
) -> calls.Calls | Response:
    """Single calls, newest first. With `Accept: text/csv` the cursor of the next page is in the header `x-next`."""
    after, before = _range(since, until)
    where = CallFilter(
        model=model,
        key=_key(caller, key),
        user=user,
        connection=connection,
        state=state,
        since=after,
        until=before,
    )
    page = await hub.ledger.calls(limit, cursor, where)
    rows = [calls.Call.of_row(row) for row in page.rows]
    if wants_csv(request):
        return csv_response(rows, calls.CSV_COLUMNS, {} if page.next is None else {"x-next": page.next})
    return calls.Calls(data=rows, next=page.next)


def _key(caller: Caller, asked: str | None) -> str | None:
    """The key whose calls may be seen. Raises `PermissionDenied` for another one's."""
    if caller.key is None or caller.is_admin:
        return asked
    if asked not in (None, caller.key.id):
        raise PermissionDenied("A key of role inference sees its own calls only.", param="key")
    return caller.key.id


def _range(since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    after, before = _microseconds(since), _microseconds(until)
    if after is not None and before is not None and after > before:
        raise BadRequest("since: it is after until", param="since")
    return after, before


def _microseconds(moment: datetime | None) -> int | None:
    """Since the epoch, exactly; times before it are the epoch."""
    if moment is None:
        return None
    passed = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return max(0, (passed.days * 86_400 + passed.seconds) * 10**6 + passed.microseconds)
