"""Real GGUF files with random weights, small enough to be made by a test."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write_tiny_gguf(
    path: Path, *, width: int = 64, blocks: int = 2, context: int = 512, seed: int = 0, rank: bool = False
) -> Path:
    """A byte-level Llama of about half a megabyte; with ``rank`` one that scores pairs for ``/v1/rerank``."""
    random = np.random.default_rng(seed)
    feed_forward = width * 2
    writer = gguf.GGUFWriter(path, "qwen3" if rank else "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    if rank:
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_key_length(width // 4)
        writer.add_value_length(width // 4)
        writer.add_classifier_output_labels(["yes", "no"])
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[6] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0.0, 0.05, shape).astype(np.float32))

    tensor("token_embd.weight", len(tokens), width)
    tensor("output.weight", len(tokens), width)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    if rank:
        tensor("cls.output.weight", 2, width)
    for block in range(blocks):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{block}.{norm}.weight", np.ones(width, dtype=np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{block}.{name}.weight", width, width)
        for name in ("attn_q_norm", "attn_k_norm") if rank else ():
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(width // 4, dtype=np.float32))
        for name in ("ffn_gate", "ffn_up"):
            tensor(f"blk.{block}.{name}.weight", feed_forward, width)
        tensor(f"blk.{block}.ffn_down.weight", width, feed_forward)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
