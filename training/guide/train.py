"""Trains the guide on a CPU and writes its GGUF: `python -m training.guide.train --out DIR`.

The same seed, versions and thread count give the same weights. How long: see README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from . import gguf_file, tokens
from .batches import Batch, Teacher
from .facts import OUTSIDE, Fact, load, plain
from .muon import Muon
from .network import Network, Shape

SEED = 20260
SHARES = {OUTSIDE: 18.0, "what-is-byom": 2.0}
"""How often a fact is drawn, where it is not once."""
TOKENIZER_QUESTIONS = 40_000


def main() -> None:
    """Reads the arguments, trains, writes `tokenizer.json`, `guide.pt` and `guide.gguf` into the folder."""
    parser = argparse.ArgumentParser(description="Train the guide.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long instead of --steps")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=SEED, help="of the questions; another one to go on with --start")
    parser.add_argument("--naming", type=float, default=0.5, help="weight of naming the fact")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights of an earlier run with the same tokenizer, to go on from")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer to use instead of learning one")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    facts = load()
    tokenizer = tokens.load(args.tokenizer) if args.tokenizer else learn_tokenizer(facts)
    tokenizer.save(str(args.out / "tokenizer.json"))
    network = Network(Shape(vocabulary=tokenizer.get_vocab_size()))
    if args.start:
        network.load_state_dict(torch.load(args.start, weights_only=True))
    print(f"{len(facts)} facts, {network.parameter_count():,} parameters", flush=True)
    teacher = Teacher(facts, tokenizer, args.seed, SHARES)
    figures = fit(network, teacher, args)
    torch.save(network.state_dict(), args.out / "guide.pt")
    gguf_file.write(args.out / "guide.gguf", network, tokenizer)
    if args.start:
        figures["before"] = json.loads((args.start.parent / "training.json").read_text(encoding="utf-8"))
    (args.out / "training.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def learn_tokenizer(facts: dict[str, Fact]) -> tokens.Tokenizer:
    """A tokenizer from all answers and many questions."""
    random = np.random.default_rng(SEED)
    every = list(facts.values())
    texts = [answer for fact in every for answer in fact.answers for _ in range(8)]
    for _ in range(TOKENIZER_QUESTIONS):
        fact = every[int(random.integers(len(every)))]
        texts.append(plain(fact.questions[int(random.integers(len(fact.questions)))].sample(random)))
    return tokens.learn(texts)


def fit(network: Network, teacher: Teacher, args: argparse.Namespace) -> dict[str, Any]:
    """Trains in place; answers with steps, seconds, tokens and last losses."""
    names = nn.Linear(network.shape.width, len(teacher.facts))
    matrices = [weight for weight in network.blk.parameters() if weight.dim() == 2]
    others = [weight for weight in network.parameters() if not any(weight is one for one in matrices)]
    muon = Muon(matrices, args.rate)
    adam = torch.optim.AdamW([*others, *names.parameters()], lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01)
    begun, seen, steps = time.monotonic(), 0, 0
    average = np.zeros(2)
    while True:
        passed = time.monotonic() - begun
        progress = passed / (60 * args.minutes) if args.minutes else steps / args.steps
        if progress >= 1:
            break
        muon.rate = adam.param_groups[0]["lr"] = args.rate * schedule(progress, steps)
        batch = teacher.batch(args.rows, args.length, cut_share=0.6 + 0.25 * progress)
        answer_loss, name_loss = losses(network, names, batch)
        (answer_loss + args.naming * name_loss).backward()
        nn.utils.clip_grad_norm_([*others, *names.parameters()], 1.0)
        muon.step()
        adam.step()
        adam.zero_grad(set_to_none=True)
        steps += 1
        seen += batch.ids.numel()
        now = np.array([answer_loss.item(), name_loss.item()])
        average = now if steps == 1 else 0.95 * average + 0.05 * now
        if steps % 20 == 0:
            rate = seen / (time.monotonic() - begun)
            print(f"{steps} {progress:.3f} answer {average[0]:.4f} fact {average[1]:.4f} {rate:.0f} tok/s", flush=True)
    return {
        "steps": steps,
        "seconds": round(time.monotonic() - begun, 1),
        "tokens": seen,
        "parameters": network.parameter_count(),
        "answer_loss": round(float(average[0]), 4),
        "fact_loss": round(float(average[1]), 4),
    }


def schedule(progress: float, steps: int) -> float:
    """Share of the rate: up within 40 steps, then half a cosine down to a fiftieth."""
    return min(1.0, (steps + 1) / 40) * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


def losses(network: Network, names: nn.Linear, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of the tokens, and of naming the fact where an answer begins (a help in training that is thrown away)."""
    hidden = network(batch.ids, batch.position, batch.mask)
    counted = batch.weight > 0
    scores = network.logits(hidden[counted])
    each = nnf.cross_entropy(scores, batch.following[counted], reduction="none")
    answer = (each * batch.weight[counted]).sum() / batch.weight.sum()
    asked = batch.fact >= 0
    return answer, nnf.cross_entropy(names(hidden[asked]), batch.fact[asked], label_smoothing=0.02)


if __name__ == "__main__":
    main()
