"""From the raw CSV to the table of the README and the charts; nothing here measures.

python bench/report.py [--results bench/results] [--readme README.md]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import results
from charts import Bar, bar_chart
from floors import FLOORS, Floor
from intervals import Estimate, estimate
from results import Measured
from watch import DISTURBED

README = Path(__file__).resolve().parent.parent / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"
ORDER = ("direct", "nginx", "byom", "portkey", "litellm")
TITLES = {
    "direct": "none: driver straight to the upstream",
    "nginx": "nginx `proxy_pass`",
    "byom": "**BYOM**",
    "portkey": "Portkey gateway",
    "litellm": "LiteLLM proxy",
}


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a run, by leg and metric."""

    rows: dict[tuple[str, str], list[Measured]]

    @classmethod
    def of(cls, measured: list[Measured]) -> Results:
        """Group rows."""
        rows: dict[tuple[str, str], list[Measured]] = defaultdict(list)
        for row in measured:
            rows[row.leg, row.metric].append(row)
        return cls(dict(rows))

    def legs(self) -> list[str]:
        """The legs of the run in the table's order."""
        known = {leg for leg, _ in self.rows}
        return [leg for leg in ORDER if leg in known]

    def missing(self, leg: str) -> str:
        """Why a leg was not measured; empty when it was."""
        rows = self.rows.get((leg, "missing"))
        return rows[0].note if rows else ""

    def values(self, leg: str, metric: str) -> dict[int, float]:
        """Clean values by round; those that other programs disturbed only where there are no others."""
        clean = {row.round: row for row in self.rows.get((leg, metric), []) if row.value is not None}
        quiet = {number: row for number, row in clean.items() if row.foreign_cpu < DISTURBED}
        return {number: row.value for number, row in (quiet or clean).items() if row.value is not None}

    def disturbed(self) -> tuple[int, int]:
        """Rows in which other programs took part of a core, and all rows that could tell."""
        told = [row for rows in self.rows.values() for row in rows if row.value is not None]
        return sum(row.foreign_cpu >= DISTURBED for row in told), len(told)

    def errors(self, leg: str, metric: str) -> int:
        """Errors of all rounds."""
        return sum(row.errors for row in self.rows.get((leg, metric), []))

    def of_leg(self, leg: str, metric: str) -> Estimate | None:
        """Median of the clean rounds; ``None`` when there is none."""
        values = self.values(leg, metric)
        return estimate(list(values.values())) if values else None

    def worst(self, leg: str, metric: str) -> float | None:
        """The largest value of all rounds."""
        return max((row.value for row in self.rows.get((leg, metric), []) if row.value is not None), default=None)

    def ratio(self, leg: str, base: str, metric: str) -> Estimate | None:
        """Leg over base, paired by round."""
        below = self.values(base, metric)
        pairs = [value / below[number] for number, value in self.values(leg, metric).items() if below.get(number)]
        return estimate(pairs) if pairs else None


def table(data: Results) -> str:
    """The Markdown table of all legs."""
    head = (
        "| forwarding | requests/s, 32 connections | of nginx | added p50, 1 connection | added p99 "
        "| SSE answers of 103 events/s | of nginx | 2,000 streams, 20 events/s each | memory after | ready |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    return "\n".join([head, *(_line(data, leg) for leg in data.legs())])


def _line(data: Results, leg: str) -> str:
    if reason := data.missing(leg):
        return f"| {TITLES[leg]} | not available: {reason} |" + " |" * 8
    cells = [
        TITLES[leg],
        _figure(data, leg, "requests_per_s", ",.0f"),
        _share(data, leg, "requests_per_s"),
        _figure(data, leg, "added_p50_ms", ".3f", " ms"),
        _figure(data, leg, "added_p99_ms", ".3f", " ms"),
        _figure(data, leg, "sse_answers_per_s", ",.0f"),
        _share(data, leg, "sse_answers_per_s"),
        _streams(data, leg),
        _figure(data, leg, "resident_mb", ".0f", " MB"),
        _figure(data, leg, "ready", ".2f", " s"),
    ]
    return f"| {' | '.join(cells)} |"


def _figure(data: Results, leg: str, metric: str, form: str, unit: str = "") -> str:
    errors = 0 if metric in {"resident_mb", "ready"} else data.errors(leg, metric)
    beside = f" ({errors:,} errors)" if errors else ""
    found = data.of_leg(leg, metric)
    if found is None:
        return f"-{beside}"
    interval = f" [{found.low:{form}}, {found.high:{form}}]" if found.count > 1 else ""
    return f"{found.median:{form}}{interval}{unit}{beside}"


def _share(data: Results, leg: str, metric: str) -> str:
    found = data.ratio(leg, "nginx", metric)
    if found is None or leg in {"direct", "nginx"}:
        return ""
    return f"{found.median:.2f}" if found.median >= 0.1 else f"{found.median:.2g}"


def _streams(data: Results, leg: str) -> str:
    rows = data.rows.get((leg, "stream_events_lost"), [])
    if not rows:
        return f"-{' (failed)' if data.errors(leg, 'failed') else ''}"
    lost = max(int(row.value or 0) for row in rows)
    faulty = max(row.errors for row in rows)
    if lost or faulty:
        return f"{lost:,} events lost, {faulty:,} streams broken"
    late = data.of_leg(leg, "stream_late_p99_ms")
    return "none lost" + (f", p99 {late.median:,.1f} ms late" if late else "")


def verdicts(data: Results) -> str:
    """The Markdown table of the floors, each with what was measured."""
    lines = ["| floor | asked | measured | held |", "| --- | --- | --- | --- |"]
    for floor in FLOORS:
        value = floor_value(data, floor)
        measured, held = ("-", "not measured") if value is None else (f"{value:{floor.form}}", _held(floor, value))
        lines.append(f"| {floor.title} | {'≥' if floor.at_least else '≤'} {floor.bound:g} | {measured} | {held} |")
    return "\n".join(lines)


def floor_value(data: Results, floor: Floor) -> float | None:
    """The measured value of a floor: a paired ratio, a median, or the worst round."""
    if floor.over:
        found = data.ratio("byom", floor.over, floor.metric)
        return found.median if found else None
    if floor.worst:
        return data.worst("byom", floor.metric)
    found = data.of_leg("byom", floor.metric)
    return found.median if found else None


def _held(floor: Floor, value: float) -> str:
    return "yes" if (value >= floor.bound if floor.at_least else value <= floor.bound) else "**no**"


def setting(data: Results, facts: dict[str, str]) -> str:
    """Some sentences on machine, versions and method."""
    disturbed, told = data.disturbed()
    versions = ", ".join(f"{leg} {facts[f'leg {leg}']}" for leg in ORDER[1:] if f"leg {leg}" in facts)
    return (
        f"Measured {facts['date']} on {facts['cores']} cores of {facts['cpu']}, Linux {facts['kernel']}, "
        f"Python {facts['python']}: {facts['pinning']}; {facts['rounds']} interleaved rounds, a fresh process each; "
        f"medians with 95 % bootstrap intervals, ratios paired by round; "
        f"{disturbed} of {told} rows, disturbed by other programs, are left out where there are others. "
        f"Versions: {versions}."
    )


def draw(data: Results, folder: Path) -> None:
    """The charts, from the rows alone."""
    for name, title, metric, unit in (
        ("requests", "Requests per second, 32 connections, one core", "requests_per_s", ""),
        ("streaming", "Streamed answers of 103 events per second, 32 connections, one core", "sse_answers_per_s", ""),
        ("latency", "Median latency at one connection", "p50_ms", " ms"),
    ):
        bars = []
        for leg in data.legs():
            found = data.of_leg(leg, metric)
            bars.append(Bar(TITLES[leg].replace("*", "").replace("`", "").partition(":")[0], found))
        (folder / f"{name}.svg").write_text(bar_chart(title, bars, unit))


def publish(folder: Path, readme: Path | None) -> None:
    """Print the tables, draw the charts, and put both tables between the markers of ``readme``."""
    data, facts = Results.of(results.read(folder)), results.read_environment(folder)
    text = "\n\n".join([table(data), verdicts(data), setting(data, facts)])
    draw(data, folder)
    (folder / "summary.json").write_text(json.dumps(_summary(data), indent=2) + "\n")
    print(text)
    if readme and START in readme.read_text():
        replace_between_markers(readme, text)


def replace_between_markers(path: Path, text: str) -> None:
    """Put ``text`` between the two markers of a file; raises ``ValueError`` where they are not there."""
    whole = path.read_text()
    before, opening, rest = whole.partition(START)
    _, closing, after = rest.partition(END)
    if not opening or not closing:
        raise ValueError(f"{path} has no {START} … {END}")
    path.write_text(f"{before}{START}\n{text}\n{END}{after}")


def _summary(data: Results) -> dict[str, float | None]:
    return {floor.title: floor_value(data, floor) for floor in FLOORS}


def main() -> None:
    """Make tables and charts again from the results on disk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(__file__).resolve().parent / "results")
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args()
    publish(options.results, options.readme)


if __name__ == "__main__":
    main()
