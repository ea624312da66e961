"""The network: a Llama (RMS norm, rotary positions in interleaved pairs, SwiGLU) with tied embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. `width` and `hidden` are multiples of 32, the block of the quantization."""

    vocabulary: int
    width: int = 256
    layers: int = 3
    heads: int = 8
    hidden: int = 512
    context: int = 1024
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


class Norm(nn.Module):
    """RMS norm with a weight per channel."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return nnf.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


def rotation(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (batch, 1, length, head / 2), for positions (batch, length)."""
    rates = shape.rope_base ** (-torch.arange(0, shape.head, 2).float() / shape.head)
    angles = positions.float()[:, None, :, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair of neighbouring channels, as llama.cpp does for the architecture `llama`."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention and feed-forward, each after a norm, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attn_norm = Norm(shape.width, shape.epsilon)
        self.ffn_norm = Norm(shape.width, shape.epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        normed = self.attn_norm(x)
        q, k, v = (
            layer(normed).view(batch, length, self.shape.heads, self.shape.head).transpose(1, 2)
            for layer in (self.attn_q, self.attn_k, self.attn_v)
        )
        mixed = nnf.scaled_dot_product_attention(rotate(q, *turn), rotate(k, *turn), v, attn_mask=mask)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, length, -1))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(nnf.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class Network(nn.Module):
    """Token ids (batch, length) to hidden states; `logits` makes scores of tokens of them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width, shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = 0.02 if "output" not in name and "down" not in name else 0.02 / (2 * shape.layers) ** 0.5
                nn.init.normal_(weight, std=scale)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (batch, length, width). `mask` (batch, 1, length, length) is true where to look."""
        x = self.token_embd(tokens)
        turn = rotation(self.shape, positions)
        for block in self.blk:
            x = block(x, turn, mask)
        return self.output_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of all tokens, by the embeddings themselves."""
        return nnf.linear(hidden, self.token_embd.weight)

    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.parameters())
