"""The fixed answers of the mock upstream: one small completion and one stream of 103 events.

The stream is one role event, 99 content events, one finish event, one usage event and ``[DONE]``.
"""

from __future__ import annotations

import json

EVENTS_PER_ANSWER = 103
CONTENT_EVENTS = EVENTS_PER_ANSWER - 4
ANSWER_TEXT = "Hello! How can I help you today?"
_USAGE = {"prompt_tokens": 11, "completion_tokens": 99, "total_tokens": 110}

MODELS = json.dumps(
    {
        "object": "list",
        "data": [
            {"id": f"mock-{kind}", "object": "model", "created": 1700000000, "owned_by": "mock"}
            for kind in ("plain", "burst", "paced")
        ],
    },
    separators=(",", ":"),
)

COMPLETION = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "mock-plain",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ANSWER_TEXT},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20},
    },
    separators=(",", ":"),
)


def event(delta: dict[str, str] | None, finish_reason: str | None = None) -> str:
    """One stream event, ``data: {...}`` and a blank line; ``delta=None`` is the usage event."""
    chunk: dict[str, object] = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "mock-burst",
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        "usage": _USAGE if delta is None else None,
    }
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"


def stream_events() -> list[str]:
    """The 103 events in order."""
    return [
        event({"role": "assistant", "content": ""}),
        *(event({"content": f" word{number}"}) for number in range(CONTENT_EVENTS)),
        event({}, "stop"),
        event(None),
        "data: [DONE]\n\n",
    ]
