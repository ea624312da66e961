"""The field ``model`` of a multipart form.

Read strictly: where two readers could see two different forms (a field that only looks like one inside a file, a name
without quotation marks), the form is refused, or a caller could show one model to the gateway and another to the
upstream.
"""

from __future__ import annotations

import re
from typing import cast

from byom.errors import BadRequest

MAX_PART_HEAD = 8 * 1024
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))\s*(?=;|\Z)', re.IGNORECASE)
_PARAMETER = rb'[ \t]*;[ \t]*([A-Za-z*]+)=("(?:[^"\\\r\n]|\\(?!"))*"|[^\s;"]+)'
_DISPOSITION = re.compile(rb"content-disposition:[ \t]*form-data((?:%b)*)[ \t]*\Z" % _PARAMETER, re.IGNORECASE)
_PARAMETERS = re.compile(_PARAMETER)


def model_span(body: bytes, content_type: str) -> tuple[int, int]:
    """Where in the body the model's name stands. Raises `BadRequest` when it is missing, or there twice."""
    delimiter = b"--" + _boundary(content_type)
    if not body.startswith(delimiter):
        raise _broken("it does not begin with its boundary")
    found: list[tuple[int, int]] = []
    at = len(delimiter)
    while body[at : at + 2] != b"--":
        head_end = body.find(b"\r\n\r\n", at, at + MAX_PART_HEAD)
        end = body.find(b"\r\n" + delimiter, head_end + 4)
        if body[at : at + 2] != b"\r\n" or head_end < 0 or end < 0:
            raise _broken("a part has no end, or no head")
        name = _field_name(body[at + 2 : head_end])
        if name.lower() == b"model":
            found.append((head_end + 4, end))
            if name != b"model":
                raise _broken("the field 'model' is written in small letters")
        at = end + 2 + len(delimiter)
    if body[at + 2 :].strip(b"\r\n"):
        raise _broken("something comes after its end")
    if len(found) != 1:
        raise BadRequest(
            "The form needs exactly one field 'model' with the name of a model.", param="model", code="missing_model"
        )
    return found[0]


def model_of(body: bytes, content_type: str) -> str:
    start, end = model_span(body, content_type)
    try:
        return str(body[start:end], "utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The form's field 'model' is not valid UTF-8.", param="model") from None


def rename_model(body: bytes, content_type: str, name: str) -> bytes:
    start, end = model_span(body, content_type)
    return body[:start] + name.encode() + body[end:]


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.findall(content_type)
    if len(found) != 1 or not content_type.lower().startswith("multipart/form-data"):
        raise BadRequest("This route takes a form: Content-Type: multipart/form-data; boundary=…")
    quoted, plain = cast("tuple[str, str]", found[0])
    return (quoted or plain).encode("latin-1")


def _field_name(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if line[:1].isspace() or line.lower().startswith(b"content-disp")]
    match = _DISPOSITION.match(lines[0]) if len(lines) == 1 else None
    if match is None or b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b""):
        raise _broken("a part has no plain Content-Disposition: form-data")
    parameters = cast("list[tuple[bytes, bytes]]", _PARAMETERS.findall(match.group(1)))
    names = [value for name, value in parameters if name.lower() in (b"name", b"name*")]
    if len(names) != 1 or not names[0].startswith(b'"') or b"\\" in names[0] or b"%" in names[0]:
        raise _broken("a part has no plain name in quotation marks")
    return names[0][1:-1]


def _broken(why: str) -> BadRequest:
    return BadRequest(f"The multipart form cannot be read without doubt: {why}.")
