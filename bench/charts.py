"""A horizontal bar chart with intervals on a logarithmic axis, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from intervals import Estimate

_LABEL_X, _BAR_X, _BAR_WIDTH, _ROW, _TOP = 168, 180, 440, 34, 48
_STYLE = "font-family:system-ui,sans-serif;font-size:13px;fill:#1f2933"


@dataclass(frozen=True, slots=True)
class Bar:
    """One leg; ``None``: it has no figure."""

    label: str
    value: Estimate | None


def bar_chart(title: str, bars: Sequence[Bar], unit: str) -> str:
    """SVG of ``bars`` from top to bottom; each decade of the axis is as wide as the next."""
    known = [bar.value for bar in bars if bar.value is not None and bar.value.median > 0]
    decades = _decades(known)
    height = _TOP + _ROW * len(bars) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img" aria-label="{escape(title)}">',
        f'<rect width="760" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" style="{_STYLE};font-weight:600;font-size:15px">{escape(title)}</text>',
        *_axis(decades, len(bars), unit),
        *(part for index, bar in enumerate(bars) for part in _bar(bar, index, decades, unit)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _decades(known: Sequence[Estimate]) -> tuple[int, int]:
    if not known:
        return 0, 1
    low = math.floor(math.log10(min(value.low for value in known)))
    high = math.ceil(math.log10(max(value.high for value in known)))
    return low, max(high, low + 1)


def _x(value: float, decades: tuple[int, int]) -> float:
    low, high = decades
    share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
    return _BAR_X + _BAR_WIDTH * share


def _axis(decades: tuple[int, int], rows: int, unit: str) -> list[str]:
    bottom = _TOP + _ROW * rows
    parts = []
    for exponent in range(decades[0], decades[1] + 1):
        x = _x(10.0**exponent, decades)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#e4e7eb"/>')
        label = f"{10.0**exponent:,g}{unit}"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" style="{_STYLE}">{label}</text>')
    return parts


def _bar(bar: Bar, index: int, decades: tuple[int, int], unit: str) -> list[str]:
    y = _TOP + _ROW * index
    middle = y + _ROW / 2 - 3
    text = f'style="{_STYLE}" dominant-baseline="middle"'
    parts = [f'<text x="{_LABEL_X}" y="{middle}" text-anchor="end" {text}>{escape(bar.label)}</text>']
    if bar.value is None or bar.value.median <= 0:
        return [*parts, f'<text x="{_BAR_X + 8}" y="{middle}" {text}>no figure</text>']
    end, low, high = (_x(value, decades) for value in (bar.value.median, bar.value.low, bar.value.high))
    colour = "#0b7285" if bar.label == "BYOM" else "#9fb3c8"
    figure = f"{bar.value.median:,.0f}" if bar.value.median >= 10 else f"{bar.value.median:.3g}"
    return [
        *parts,
        f'<rect x="{_BAR_X}" y="{y}" width="{max(1.0, end - _BAR_X):.1f}" height="{_ROW - 8}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="#1f2933" stroke-width="2"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{middle}" {text}>{figure}{unit}</text>',
    ]
