"""Bar charts as SVG that needs nothing else: text is text, and a title and description say it to screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.peers.figures import Spread, number

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 760, 130, 190, 20, 10, 64
_OURS, _THEIRS, _INK, _FAINT = "#0b5cad", "#8a8f98", "#1b1f24", "#d5d9df"


@dataclass(frozen=True, slots=True)
class Bar:
    """One system's figure; ``ours`` bars are blue and their names bold, so colour is not all that tells."""

    name: str
    spread: Spread
    ours: bool


def chart(title: str, unit: str, bars: Sequence[Bar], *, better: str) -> str:
    """Horizontal bars on a logarithmic axis, the best on top, with the range as a line. ``better`` is "most" or
    "least".

    Raises:
        ValueError: there is no bar, or one is not above 0.
    """
    if not bars or any(bar.spread.low <= 0 for bar in bars):
        raise ValueError("a chart on a logarithmic axis needs bars above 0")
    bars = sorted(bars, key=lambda bar: bar.spread.median, reverse=better == "most")
    low = 10 ** math.floor(math.log10(min(bar.spread.low for bar in bars)))
    high = 10 ** math.ceil(math.log10(max(bar.spread.high for bar in bars) * 1.001))
    plot = _WIDTH - _LEFT - _RIGHT
    bottom = _TOP + len(bars) * (_BAR + _GAP)

    def at(value: float) -> float:
        return round(_LEFT + plot * math.log10(value / low) / math.log10(high / low), 1)

    hint = "more is better" if better == "most" else "less is better"
    says = "; ".join(f"{bar.name} {number(bar.spread.median)}" for bar in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" role="img" '
        f'aria-labelledby="title desc" font-family="system-ui, sans-serif" font-size="13">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(f"{unit}, {hint}: {says}")}</desc>',
        f'<rect width="{_WIDTH}" height="{bottom + 34}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{_INK}">{escape(title)}</text>',
        f'<text x="16" y="46" fill="#4d5560">{escape(unit)}, logarithmic; {hint}; median, '
        "line from least to most</text>",
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        x = at(10.0**power)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{bottom}" stroke="{_FAINT}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" fill="#4d5560">{_tick(power)}</text>')
    for i, bar in enumerate(bars):
        y = _TOP + i * (_BAR + _GAP)
        middle = y + _BAR / 2
        weight = ' font-weight="700"' if bar.ours else ""
        width = max(2.0, round(at(bar.spread.median) - _LEFT, 1))
        parts += [
            f'<text x="{_LEFT - 8}" y="{middle + 4.5:g}" text-anchor="end" fill="{_INK}"{weight}>'
            f"{escape(bar.name)}</text>",
            f'<rect x="{_LEFT}" y="{y}" width="{width:g}" height="{_BAR}" fill="{_OURS if bar.ours else _THEIRS}"/>',
            f'<line x1="{at(bar.spread.low)}" x2="{at(bar.spread.high)}" y1="{middle:g}" y2="{middle:g}" '
            f'stroke="{_INK}" stroke-width="2"/>',
            f'<text x="{max(at(bar.spread.high), _LEFT + width) + 6:g}" y="{middle + 4.5:g}" fill="{_INK}"{weight}>'
            f"{number(bar.spread.median)}</text>",
        ]
    return "\n".join([*parts, "</svg>", ""])


def _tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
