"""The raw results on disk: one CSV line per measured value, written as it is measured."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from row import Row

MEASUREMENTS = "measurements.csv"
ENVIRONMENT = "environment.csv"
ALL_ROUNDS = -1


@dataclass(frozen=True, slots=True)
class Measured:
    """One row as read back, with the round and the leg it belongs to."""

    round: int
    leg: str
    metric: str
    value: float | None
    unit: str
    errors: int
    foreign_cpu: float
    note: str


class Writer:
    """Appends rows to an open CSV file; each is on disk when the call returns."""

    def __init__(self, sink: IO[str]) -> None:
        self._sink = sink
        self._rows = csv.writer(sink, lineterminator="\n")
        self._rows.writerow(["time", "round", "leg", *(column.name for column in fields(Row))])

    def add(self, round_number: int, leg: str, row: Row) -> None:
        """Write one row; ``None`` becomes an empty field."""
        value = None if row.value is None else round(row.value, 6)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._rows.writerow([now, round_number, leg, *(asdict(row) | {"value": value}).values()])
        self._sink.flush()


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """A writer whose file replaces the last results only when the whole run has succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{MEASUREMENTS}.part"
    with part.open("w", newline="") as sink:
        yield Writer(sink)
    os.replace(part, folder / MEASUREMENTS)


def read(folder: Path) -> list[Measured]:
    """All rows of a finished run."""
    with (folder / MEASUREMENTS).open(newline="") as source:
        return [
            Measured(
                round=int(line["round"]),
                leg=line["leg"],
                metric=line["metric"],
                value=float(line["value"]) if line["value"] else None,
                unit=line["unit"],
                errors=int(line["errors"]),
                foreign_cpu=float(line["foreign_cpu"] or 0),
                note=line["note"],
            )
            for line in csv.DictReader(source)
        ]


def write_environment(folder: Path, facts: dict[str, str]) -> None:
    """The machine and the versions, as name and value."""
    with (folder / ENVIRONMENT).open("w", newline="") as sink:
        rows = csv.writer(sink, lineterminator="\n")
        rows.writerow(["name", "value"])
        rows.writerows(facts.items())


def read_environment(folder: Path) -> dict[str, str]:
    """What ``write_environment`` wrote."""
    with (folder / ENVIRONMENT).open(newline="") as source:
        return {line["name"]: line["value"] for line in csv.DictReader(source)}
