"""The kinds of fields, and the two bases: what comes in, what goes out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

LARGEST = 2**31 - 1
"""The largest count that every database column takes."""
LONGEST_TEXT = 4096
LONGEST_NAME = 200
_NO_NUL = r"^[^\x00]*$"
_LARGEST_OBJECT = 64 * 1024

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT, pattern=_NO_NUL)]
Filter = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME, pattern=_NO_NUL)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, gt=0, le=LARGEST)]
Bytes = Annotated[int, Field(strict=True, gt=0, le=2**40)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=1e9)]
PositiveSeconds = Annotated[float, Field(strict=True, gt=0, le=1e9)]
Moment = Annotated[float, Field(strict=True, ge=0, le=1e11, description="Seconds since the epoch (UTC).")]
Dollars = Annotated[Decimal, Field(ge=0, le=10**6, max_digits=18, decimal_places=12)]


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise ValueError("it holds numbers that are not finite, or it is nested too deeply") from None
    if len(text) > _LARGEST_OBJECT:
        raise ValueError(f"it is larger than {_LARGEST_OBJECT} characters")
    if r"\u0000" in text:
        raise ValueError("it holds a NUL character")
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]


class Given(BaseModel):
    """What a caller writes. Unknown fields are errors; ``fields()`` are those that were written."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    def fields(self, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """For the catalog's forms: what is not here stays, and ``None`` goes back to the default."""
        return self.model_dump(exclude_unset=True, exclude=set(without))


class Shown(BaseModel):
    """What a caller reads: these fields and no others."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def of(cls, record: msgspec.Struct) -> Self:
        return cls.model_validate(msgspec.to_builtins(record, str_keys=True))


class Error(BaseModel):
    message: str = Field(description="What happened, and what to do next.")
    type: str
    param: str | None = Field(description="The field that is wrong, where it is one.")
    code: str
    details: dict[str, Any] | None = None


class ErrorAnswer(BaseModel):
    """Every failure, in OpenAI's form."""

    error: Error
