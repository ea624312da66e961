"""Launches a model, calls it and stops it, a hundred times over, and looks at what is left.

``python bench/launch/run.py --gguf model.gguf [--rounds 100] [--out bench/launch/results/launches.csv]``

The hub runs as people run it. Of every round: seconds from launch to ready, to the first token of a call and of the
stop, and after it the hub's processes, open files, sockets that listen and memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from byom.client import Client

FIELDS = ("round", "launch_s", "first_token_s", "stop_s", "processes", "files", "listening", "memory_mib")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gguf", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "launches.csv")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="byom-bench-") as folder:
        rows = measured(Path(folder), given.gguf.resolve(), given.rounds)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return told(rows)


def measured(home: Path, gguf: Path, rounds: int) -> list[dict[str, Any]]:
    spec = {
        "version": 2, "model_name": "bench", "model_lang": ["en"], "model_ability": ["generate"],
        "model_specs": [
            {"model_format": "ggufv2", "model_size_in_billions": 1, "quantization": "F32", "model_uri": str(gguf)}
        ],
    }  # fmt: skip
    command = [sys.executable, "-m", "byom", "serve", "--port", "0", "--home", str(home)]
    with (home / "serve.log").open("wb") as log:
        hub = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        record = home / "hub.json"
        while not record.exists():
            if hub.poll() is not None:
                raise RuntimeError((home / "serve.log").read_text())
            time.sleep(0.02)
        url, key = json.loads(record.read_text())["url"], (home / "admin.key").read_text().strip()
        with Client(url, key) as client:
            client.specs.register(spec, persist=False)
            return [one_round(client, hub.pid, number) for number in range(1, rounds + 1)]
    finally:
        hub.terminate()
        hub.wait()


def one_round(client: Client, hub: int, number: int) -> dict[str, Any]:
    begun = time.perf_counter()
    client.launches.start("bench", uid="bench")
    ready = time.perf_counter()
    with client.complete("bench", "Once", max_tokens=8, stream=True) as stream:
        next(iter(stream))
        first = time.perf_counter()
    stopping = time.perf_counter()
    client.launches.stop("bench")
    stopped = time.perf_counter()
    return {
        "round": number, "launch_s": round(ready - begun, 3), "first_token_s": round(first - ready, 3),
        "stop_s": round(stopped - stopping, 3), **left(hub),
    }  # fmt: skip


def left(hub: int) -> dict[str, Any]:
    """What the hub and the processes below it have now."""
    below = family(hub)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in below)
    return {
        "processes": len(below),
        "files": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in below),
        "listening": listening(below),
        "memory_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
    }


def family(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += family(child)
    return found


def listening(pids: list[int]) -> int:
    """Sockets of these processes that listen on TCP."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == "0A"}
    count = 0
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            count += target.startswith("socket:[") and target[8:-1] in inodes
    return count


def told(rows: list[dict[str, Any]]) -> int:
    """Prints medians and what has grown between the tenth round and the last; 1 where something has."""
    for field in ("launch_s", "first_token_s", "stop_s"):
        values = sorted(row[field] for row in rows)
        print(f"{field}: median {statistics.median(values):.3f}, largest {values[-1]:.3f}")
    first, last = rows[min(9, len(rows) - 1)], rows[-1]
    for field in ("processes", "files", "listening", "memory_mib"):
        print(f"{field}: {first[field]} after round {first['round']}, {last[field]} after round {last['round']}")
    grown = last["processes"] > first["processes"] or last["listening"] > first["listening"]
    return int(grown or last["files"] > first["files"] + 8 or last["memory_mib"] > first["memory_mib"] + 20)


if __name__ == "__main__":
    sys.exit(main())
