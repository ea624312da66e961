"""A base for class models: a convenience, nobody has to inherit from it."""

from __future__ import annotations

from typing import Any

from .messages import openai_messages


class BaseModel:
    """A model as one class: give it a ``name`` and a ``generate_response``.

    ``messages`` are the intermediate messages: one content each (text, or an RGB image as an array of bytes of the
    shape (height, width, 3)), read as ``message["role"]`` or as ``message.role``.
    """

    name: str = ""

    def compose_messages(self, intermedia_msg: list[dict[str, Any]]) -> Any:
        """The intermediate messages in the form that the model takes; by default OpenAI's. For `generate_response`
        to call: nobody else does. Raises `ValueError` for a content that is neither text nor image."""
        return openai_messages(intermedia_msg)

    def generate_response(self, messages: list[dict[str, Any]], **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """The answer, and what is known of it: ``prompt_tokens`` and ``completion_tokens``, or ``total_tokens``.

        ``kwargs``: ``model``, the name that was asked for, and what the caller sent of ``temperature``, ….
        """
        raise NotImplementedError(f"{type(self).__name__} has no generate_response")
