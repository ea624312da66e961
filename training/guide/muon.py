"""Muon in 32 bits: steps whose singular values are all about one (torch's own works in bfloat16, slow on a CPU)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, chosen for speed by Keller Jordan; it need not converge exactly."""
ITERATIONS = 5


class Muon:
    """For the matrices of a network; those of one shape are worked on together."""

    def __init__(self, matrices: Iterable[nn.Parameter], rate: float, momentum: float = 0.95, decay: float = 0.05):
        self.rate, self.momentum, self.decay = rate, momentum, decay
        groups: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            groups[matrix.shape].append(matrix)
        self.groups = [(group, torch.zeros(len(group), *shape)) for shape, group in groups.items()]

    @torch.no_grad()
    def step(self) -> None:
        """Moves every matrix, and forgets the gradients."""
        for group, speed in self.groups:
            slope = torch.stack([matrix.grad for matrix in group if matrix.grad is not None])
            speed.lerp_(slope, 1 - self.momentum)
            move = orthogonal(slope.lerp(speed, self.momentum))
            scale = 0.2 * max(move.shape[-2:]) ** 0.5
            for matrix, direction in zip(group, move, strict=True):
                matrix.mul_(1 - self.rate * self.decay).sub_(direction, alpha=self.rate * scale)
                matrix.grad = None


def orthogonal(stack: Tensor) -> Tensor:
    """Nearly orthogonal matrices (n, rows, columns) with the directions of the given ones."""
    a, b, c = COEFFICIENTS
    tall = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + torch.baddbmm(square, square, square, beta=b, alpha=c) @ x
    return x.mT if tall else x
