from __future__ import annotations

import email.utils

import pytest

from byom.errors import (
    BadRequest,
    BudgetExceeded,
    LimitExceeded,
    ModelNotFound,
    NotFound,
    UpstreamAuth,
    UpstreamProtocol,
)
from byom.upstream.answer_errors import error_for, message_of, redacted, retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": email.utils.formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "later"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_every_form_of_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """Gateway checklist 29."""
    assert retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "m", "code": "c"}}', "m"),
        (b'{"error": "m", "error_type": "c"}', "m"),
        (b'{"message": "m", "type": "c"}', "m"),
        (b'{"detail": "m"}', "m"),
        (b'{"detail": [{"msg": "m"}]}', '[{"msg":"m"}]'),
        (b"plain words", "plain words"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1]", "[1]"),
        (b"{}", ""),
    ],
)
def test_the_message_is_found_in_every_shape(body: bytes, message: str) -> None:
    assert message_of(body)[0] == message


def test_the_status_outranks_the_words() -> None:
    assert type(error_for(401, {}, b'{"error": {"message": "rate limit exceeded"}}')) is UpstreamAuth
    assert type(error_for(404, {}, b'{"error": {"message": "no such page"}}')) is NotFound
    assert type(error_for(404, {}, b'{"error": {"message": "model x is unknown"}}')) is ModelNotFound
    assert type(error_for(429, {}, b'{"error": {"message": "x", "type": "insufficient_quota"}}')) is BudgetExceeded
    assert type(error_for(429, {}, b"")) is LimitExceeded
    assert type(error_for(418, {}, b"")) is BadRequest
    assert type(error_for(302, {}, b"")) is UpstreamProtocol
    long = error_for(400, {}, b'{"error": {"message": "too long", "code": "context_length_exceeded"}}')
    assert long.code == "context_length_exceeded"
    assert long.details == {"upstream_status": 400, "upstream_code": "context_length_exceeded"}


def test_keys_never_appear_in_an_error() -> None:
    body = b'{"error": {"message": "key canary-abcdef and sk-proj-1234567890ab and Bearer abcdefghijkl are wrong"}}'
    error = error_for(401, {}, body, secret="Bearer canary-abcdef")
    assert "canary" not in str(error)
    assert "1234567890ab" not in str(error)
    assert "abcdefghijkl" not in str(error)
    assert redacted("a task-list of risk-averse key-value stores") == "a task-list of risk-averse key-value stores"


def test_a_very_long_message_is_cut() -> None:
    assert len(str(error_for(400, {}, b"x" * 100_000))) < 1000


@pytest.mark.parametrize(
    "instruction",
    [
        "No API key was given. Send it as a header: Authorization: Bearer sk-byom-…",
        "You need to provide your API key using Bearer auth (i.e. Authorization: Bearer YOUR_API_KEY).",
        "Send Authorization: Bearer <your-token>, please",
        "Send 'Authorization: Bearer $OPENAI_API_KEY'.",
        "Use Bearer authentication.",
        "Write sk-your-key-here into the header",
        "The error was key_not_found",
    ],
)
def test_instructions_on_how_to_send_a_key_stay_readable(instruction: str) -> None:
    assert redacted(instruction, "Bearer canary-abcdef") == instruction


def test_a_short_key_does_not_eat_words_and_is_still_taken_out() -> None:
    assert redacted("Key 'key' is wrong: keys have a prefix", "key") == "Key '[redacted]' is wrong: keys have a prefix"
    assert redacted("Bearer sk-abcdefgh12345678… is wrong") == "[redacted] is wrong"
