"""Writes the network as a GGUF of llama.cpp's architecture `llama`, matrices in 8 bits (Q8_0)."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer

from . import tokens
from .network import Network

TEMPLATE = (
    "{%- if messages and messages[0]['role'] == 'system' -%}{{ messages[0]['content'] | lower | trim }}{%- endif -%}"
    "{%- set spoken = messages | selectattr('role', 'in', ['user', 'assistant']) | list -%}"
    "{%- for message in spoken[-3:] -%}"
    "{%- if message['role'] == 'user' -%}<|user|>{{ message['content'] | lower | trim }}"
    "{%- else -%}<|guide|>{{ message['content'] | trim }}<|end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|guide|>{%- endif -%}"
)
"""Small letters, and of a conversation the last question with what came before it: that is how it was trained."""
DESCRIPTION = "A demonstration that knows BYOM's documentation and nothing else."


def write(path: Path, network: Network, tokenizer: Tokenizer) -> None:
    """One file with weights, tokenizer, chat template and the sampling that suits it."""
    shape = network.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("guide")
    writer.add_description(DESCRIPTION)
    writer.add_license("Apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_float32("general.sampling.temp", 0.0)
    _add_tokenizer(writer, tokenizer)
    for name, weight in network.state_dict().items():
        _add_tensor(writer, name, weight.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    names = [name for name, _ in vocabulary]
    kinds = [gguf.TokenType.CONTROL if name in tokens.SPECIAL else gguf.TokenType.NORMAL for name in names]
    merges = tokenizer_merges(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.token_to_id(tokens.BEGIN))
    writer.add_eos_token_id(tokenizer.token_to_id(tokens.END))
    writer.add_pad_token_id(tokenizer.token_to_id(tokens.PAD))
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=False)
    writer.add_chat_template(TEMPLATE)


def tokenizer_merges(tokenizer: Tokenizer) -> list[str]:
    """The merges of a BPE tokenizer in their order, two pieces with a blank between them."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _add_tensor(writer: gguf.GGUFWriter, name: str, data: np.ndarray) -> None:
    if data.ndim == 1:
        writer.add_tensor(name, data.astype(np.float32))
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(data, np.float32), kind), raw_dtype=kind)
