"""Times a cold process from its start to the first token: `python -m training.guide.cold FILE`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import sys, time
begun = time.monotonic()
import xllamacpp
imported = time.monotonic()
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.port, parameters.verbosity = sys.argv[1], 1024, 0, -1
server = xllamacpp.Server(parameters)
loaded = time.monotonic()
first = []
def piece(found):
    text = found["choices"][0]["delta"].get("content") if found.get("choices") else None
    if text and not first:
        first.append(time.monotonic())
    return False
body = {"messages": [{"role": "user", "content": "What is BYOM?"}], "stream": True, "max_tokens": 100}
server.handle_chat_completions(body, piece)
print(imported - begun, loaded - imported, first[0] - loaded, first[0], flush=True)
"""
NAMES = ("import of xllamacpp", "load", "first token after it", "all, from the start of the process")


def main() -> None:
    """Prints the medians of several processes, in milliseconds."""
    parser = argparse.ArgumentParser(description="Time the guide in fresh processes.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    rows = [once(args.file) for _ in range(args.rounds)]
    for name, values in zip(NAMES, zip(*rows, strict=True), strict=True):
        low, middle, high = (1000 * figure(values) for figure in (min, statistics.median, max))
        print(f"{name}: {middle:.0f} ms ({low:.0f} to {high:.0f})")


def once(weights: Path) -> list[float]:
    """Seconds of each part in one fresh process."""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(weights)], capture_output=True, text=True, check=True)
    *parts, first = (float(number) for number in done.stdout.splitlines()[-1].split())
    return [*parts, first - begun]


if __name__ == "__main__":
    main()
