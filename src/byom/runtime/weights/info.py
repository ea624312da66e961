"""What is known of weights before they are loaded."""

from __future__ import annotations

import msgspec

from byom.errors import BadRequest


class WeightsCorrupt(BadRequest):
    """Files that no engine can load: cut short, of another form, or with parts missing."""

    code = "weights_corrupt"


class WeightsInfo(msgspec.Struct, kw_only=True, frozen=True):
    """Read from headers and configuration files; ``None`` where they do not say."""

    bytes: int
    """Of all weight files together."""
    architecture: str | None = None
    """``LlamaForCausalLM`` in a folder, ``llama`` in a GGUF."""
    layers: int | None = None
    hidden_size: int | None = None
    kv_heads: int | None = None
    head_size_k: int | None = None
    head_size_v: int | None = None
    context_length: int | None = None
    has_chat_template: bool | None = None
    quantization_method: str | None = None
    """``gptq``, ``awq``, ``fp8``, ``bitsandbytes``, … where the weights are quantized; of a GGUF its file type."""
    parameters: int | None = None
    pooling: str | None = None
    """Of a GGUF for embeddings: ``mean``, ``cls``, ``last`` or ``rank``."""

    def kv_bytes_per_token(self, element_size: float = 2.0) -> float | None:
        """Bytes of key and value cache that one token of context takes."""
        if not (self.layers and self.kv_heads and self.head_size_k):
            return None
        head = self.head_size_k + (self.head_size_v or self.head_size_k)
        return self.layers * self.kv_heads * head * element_size
