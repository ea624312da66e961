"""Answers as CSV, for those who ask for ``text/csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

CSV = "text/csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def wants_csv(request: Request) -> bool:
    """Whether ``Accept`` names CSV, and before JSON."""
    for kind in request.headers.get("accept", "").split(","):
        name = kind.partition(";")[0].strip().lower()
        if name in (CSV, "application/json"):
            return name == CSV
    return False


def csv_response(rows: Iterable[BaseModel], columns: Sequence[str], headers: dict[str, str] | None = None) -> Response:
    """One line a row, after a line of names. Unknown is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(getattr(row, name)) for name in columns] for row in rows)
    return Response(text.getvalue(), media_type=CSV, headers=headers)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # A spreadsheet would run a name that begins like a formula; numbers begin with a digit here.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
