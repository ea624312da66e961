"""The one form of a spec inside BYOM, whichever version and kind it was written in."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

Kind = Literal["LLM", "embedding", "rerank"]
Format = Literal["pytorch", "ggufv2", "gptq", "awq", "fp8", "fp4", "bnb"]
"""``pytorch`` is a folder as Hugging Face has them (safetensors or bin); ``ggufv2`` a file of llama.cpp."""

KINDS: tuple[Kind, ...] = get_args(Kind)
FORMATS: tuple[Format, ...] = get_args(Format)
LLM_ABILITIES = ("generate", "chat", "embed", "tools", "vision", "reasoning", "hybrid")


class Variant(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One set of weights: a format, a size and a quantization, and where it is."""

    format: Format
    quantization: str = "none"
    size: str | None = None
    """Billions of parameters as a decimal, such as ``2`` or ``1.8``; only an LLM has one."""
    activated_size: str | None = None
    model_id: str | None = None
    """``organisation/name`` on the hub, with the quantization filled in."""
    hub: str = "huggingface"
    revision: str | None = None
    uri: str | None = None
    """A path, or a URI of file, http, https or a scheme of fsspec, with the quantization filled in."""
    file_name: str | None = None
    """GGUF: the file in the repository or folder, with the quantization filled in. Further parts stand in ``parts``."""
    parts: tuple[str, ...] = ()
    """GGUF in several files: all of them in order, the first being the one to load."""
    projectors: tuple[str, ...] = ()
    """GGUF with vision: files with the image encoder; the first is taken where none is named at launch."""
    checksums: dict[str, str] = {}
    """SHA-256 in hexadecimal by file name; the name ``*`` stands for the only file."""
    template: str | None = None
    """The file name as written, with ``{quantization}``: for giving the spec back as it came."""
    split_template: str | None = None
    extra: dict[str, Any] = {}
    """Fields that BYOM does not read, kept as they came."""

    @property
    def label(self) -> str:
        """For messages: ``pytorch 2B 4-bit``."""
        size = f" {self.size}B" if self.size else ""
        return f"{self.format}{size} {self.quantization}"


class ModelSpec(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A model that can be launched."""

    kind: Kind
    name: str
    version: int = 2
    """The version it was written in."""
    description: str | None = None
    languages: tuple[str, ...] = ()
    abilities: tuple[str, ...] = ()
    """Of an LLM some of `LLM_ABILITIES`; of the others ``embed`` or ``rerank``."""
    context_length: int | None = None
    """Tokens; ``None`` takes what the weights say."""
    family: str = "other"
    variants: tuple[Variant, ...] = ()
    chat_template: str | None = None
    """Jinja; ``None`` takes the template that the weights carry."""
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    architectures: tuple[str, ...] = ()
    reasoning_start_tag: str | None = None
    reasoning_end_tag: str | None = None
    tool_parser: str | None = None
    dimensions: int | None = None
    max_tokens: int | None = None
    """Of an embedding or rerank model: the longest text it takes, in tokens."""
    rerank_type: str = "unknown"
    builtin: bool = False
    extra: dict[str, Any] = {}

    def pick(
        self, *, size: str | None = None, form: str | None = None, quantization: str | None = None
    ) -> tuple[Variant, ...]:
        """The variants that fit what is asked for, the preferred first: one that is not quantized on load."""
        fitting = [
            variant
            for variant in self.variants
            if (size is None or variant.size is None or variant.size == size)
            and (form is None or variant.format == form)
            and (quantization is None or variant.quantization.lower() == quantization.lower())
        ]
        return tuple(
            sorted(fitting, key=lambda variant: variant.format == "pytorch" and variant.quantization != "none")
        )


class Reading(msgspec.Struct, kw_only=True, frozen=True):
    """A spec, and what the reader of a message should know about how it was understood."""

    spec: ModelSpec
    notes: tuple[str, ...] = ()
