"""The few fields of a request's body that the gateway reads, and the few that it may have to change.

A body is changed by cutting bytes where that is safe, and otherwise by putting its top level together anew from the
original bytes of each value. What is not changed reaches the upstream as the caller wrote it.
"""

from __future__ import annotations

import re

import msgspec

from byom.errors import BadRequest


class StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's: running totals on every chunk."""


class Envelope(msgspec.Struct, gc=False):
    """Types are checked for these fields alone; everything else is the upstream's business."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    max_output_tokens: int | float | None = None
    temperature: int | float | None = None
    n: int | float | None = None
    tools: msgspec.Raw = msgspec.Raw()

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def max_output(self) -> int | None:
        """The most tokens the answer may have, over all choices, where the caller said so."""
        most = self.max_completion_tokens or self.max_tokens or self.max_output_tokens
        return None if most is None else max(0, int(most)) * max(1, int(self.n or 1))


_decode = msgspec.json.Decoder(Envelope).decode
_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)
_SMALL = 64 * 1024
_MODEL_KEY = b'"model"'
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_ANY_MODEL_KEY = re.compile(rb'"[mM][oO][dD][eE][lL]"')


def read(body: bytes) -> Envelope:
    """Raises `BadRequest` for a body that is not one JSON object in UTF-8, whatever is wrong with it."""
    try:
        envelope = _decode(body)
        if not body.isascii():
            str(body, "utf-8")
    except msgspec.ValidationError as error:
        text = str(error)
        _, _, path = text.partition(" - at `$.")
        raise BadRequest(f"The request body does not fit: {text}", param=path.rstrip("`") or None) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"The request body is not valid UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise BadRequest("The request body is nested too deeply.", code="invalid_json") from error
    keys = body.lower().count(_MODEL_KEY) if len(body) < _SMALL else len(_ANY_MODEL_KEY.findall(body))
    # `find`, not `in`, which is slower: CPython first tries what it is given as a number.
    if keys != 1 or hides_names(body):
        _check_names(body)
    return envelope


def hides_names(body: bytes) -> bool:
    """Whether letters are escaped that need no escape: a field's name may hide behind them."""
    return body.find(b"\\u00") >= 0 and _ESCAPED_LETTER.search(body) is not None


def _check_names(body: bytes) -> None:
    """Some servers (those in Go) read ``Model`` as ``model``: a caller could name one model to us and one to them."""
    for name in _top_level.decode(body):
        if name != "model" and name.lower() == "model":
            raise BadRequest(f"The field {name!r} is written 'model'.", param="model")


def rewrite(
    body: bytes,
    envelope: Envelope,
    *,
    model: str,
    ask_usage: bool,
    stream: bool | None = None,
    max_tokens_field: str = "as-is",
) -> bytes:
    """The body for the upstream.

    ``ask_usage``: a stream is asked for its usage even though the caller did not ask. ``stream`` replaces the
    caller's choice. ``max_tokens_field``: the one of the two names that this upstream knows.
    """
    changes: dict[str, bytes | None] = {}
    if stream is not None and bool(envelope.stream) != stream:
        changes["stream"] = b"true" if stream else b"false"
        if not stream and envelope.stream_options is not None:
            changes["stream_options"] = None
    if max_tokens_field != "as-is":
        _rename_max_tokens(body, envelope, max_tokens_field, changes)
    add_usage = ask_usage and envelope.stream_options is None and b'"stream_options"' not in body
    if ask_usage and not add_usage and not envelope.wants_usage:
        changes["stream_options"] = _with_usage(body)
    if not changes:
        cut = _cut_model(body, envelope.model, model)
        if cut is not None:
            if not add_usage:
                return cut
            end = cut.rfind(b"}")
            return cut[:end] + b',"stream_options":{"include_usage":true}}'
    if add_usage:
        changes["stream_options"] = b'{"include_usage":true}'
    if envelope.model is not None:
        changes["model"] = msgspec.json.encode(model)
    return _rebuild(body, changes)


def _with_usage(body: bytes) -> bytes:
    """The caller's other ``stream_options``, and usage."""
    try:
        options = _top_level.decode(_top_level.decode(body)["stream_options"])
    except (KeyError, msgspec.ValidationError):
        options = {}
    options["include_usage"] = msgspec.Raw(b"true")
    return msgspec.json.encode(options)


def _rename_max_tokens(body: bytes, envelope: Envelope, wanted: str, changes: dict[str, bytes | None]) -> None:
    other = "max_completion_tokens" if wanted == "max_tokens" else "max_tokens"
    value = getattr(envelope, other)
    if value is not None and getattr(envelope, wanted) is None:
        changes[wanted] = msgspec.json.encode(value)
    if b'"%b"' % other.encode() in body:
        # Also where it is null: an upstream that knows one of the names may refuse the other whatever it says.
        changes[other] = None


def needles(name: str) -> tuple[bytes, ...]:
    """How a body names this model, as the usual JSON encoders write it."""
    quoted = msgspec.json.encode(name)
    return (_MODEL_KEY + b":" + quoted, _MODEL_KEY + b": " + quoted)


def names_once(body: bytes, written: tuple[bytes, ...]) -> bool:
    """Whether the body certainly names this model and no other: what `_cut_model` proves, in fewer steps."""
    if body.count(_MODEL_KEY) != 1 or body.find(b"\\u006") >= 0:
        return False
    return body.find(written[0]) >= 0 or body.find(written[1]) >= 0


_SPACES = b" \t\r\n"


def _cut_model(body: bytes, named: str | None, model: str) -> bytes | None:
    """Replace the model's name in place; ``None`` where the bytes alone do not prove which one it is.

    A quotation mark inside a JSON string is always escaped, so ``"model"`` followed by a colon stands for a key. If
    that sequence is there once, and no key could be spelled with escapes, the key is the top level's own: it was
    decoded from there. This also keeps a second ``model`` (whose order an upstream could read differently from us)
    from passing unseen.
    """
    if named is None:
        return body
    at = body.find(_MODEL_KEY)
    if at < 0 or body.find(_MODEL_KEY, at + 7) >= 0 or b"\\u006" in body:
        return None
    value = at + 7
    while body[value] in _SPACES:
        value += 1
    if body[value] != 0x3A:
        return None
    value += 1
    while body[value] in _SPACES:
        value += 1
    quoted = msgspec.json.encode(named)
    if not body.startswith(quoted, value):
        return None
    if named == model:
        return body
    return body[:value] + msgspec.json.encode(model) + body[value + len(quoted) :]


def _rebuild(body: bytes, changes: dict[str, bytes | None]) -> bytes:
    fields = _top_level.decode(body)
    for name, value in changes.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = msgspec.Raw(value)
    return msgspec.json.encode(fields)


_DATA_URL = re.compile(rb";base64,[A-Za-z0-9+/=]{64,}")
TOKENS_PER_IMAGE = 800
DEFAULT_OUTPUT = 256
"""Tokens reserved for an answer whose length the caller did not bound; what was really used replaces it."""


def estimate_prompt(body: bytes) -> int:
    """Tokens of the prompt, about: four bytes a token, an inline image or sound a fixed number."""
    size = len(body)
    if size > 4096 and b";base64," in body:
        inline = [match.end() - match.start() for match in _DATA_URL.finditer(body)]
        return (size - sum(inline)) // 4 + TOKENS_PER_IMAGE * len(inline)
    return size // 4
