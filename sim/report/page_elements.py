"""Building blocks of the reports: the page itself, tables, bars with intervals, curves; all of it escaped HTML."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

TEMPLATES = Path(__file__).parent / "templates"
CURVE_WIDTH, CURVE_HEIGHT, MARGIN = 360, 200, 48
MOST_POINTS = 400
"""Points of a curve; more could not be told apart on a screen."""


def page(title: str, about: str, body: str, data: dict[str, Any] | None = None, scripts: Sequence[str] = ()) -> str:
    """One HTML document that needs nothing but itself.

    Args:
        title: its heading.
        about, body: HTML of the head and of what follows.
        data: what the scripts work on.
        scripts: names of scripts among the templates, in order.
    """
    return Template((TEMPLATES / "report.html").read_text()).substitute(
        title=html.escape(title),
        css=(TEMPLATES / "report.css").read_text(),
        script="\n".join((TEMPLATES / f"{name}.js").read_text() for name in scripts),
        about=about,
        body=body,
        # Nothing in the data may end the script element it is in.
        data=json.dumps(data).replace("<", "\\u003c"),
    )


def escape(text: object) -> str:
    return html.escape(str(text))


def table(
    headings: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    numbers: Sequence[int] = (),
    wide: Sequence[int] = (),
) -> str:
    """Rows are (class, cells) with cells of HTML, the first of them the row's heading.

    Columns in ``numbers`` are set to the right, those in ``wide`` get more room. On a narrow screen each row becomes
    a block with the headings before its numbers.
    """

    def kind(column: int) -> str:
        return ' class="number"' if column in numbers else ' class="wide"' if column in wide else ""

    head = "".join(f'<th scope="col"{kind(column)}>{escape(name)}</th>' for column, name in enumerate(headings))
    lines = []
    for row_kind, (first, *others) in rows:
        cells = "".join(
            f'<td{kind(column)} data-heading="{escape(headings[column])}">{value}</td>'
            for column, value in enumerate(others, start=1)
        )
        lines.append(f'<tr class="{row_kind}"><th scope="row">{first}</th>{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def facts(values: Mapping[str, str]) -> str:
    """A list of names and values, which are text."""
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{pairs}</dl>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """What colours mean: (class of the swatch, text)."""
    items = "".join(f'<li><span class="swatch {kind}"></span>{escape(text)}</li>' for kind, text in entries)
    return f'<ul class="legend" aria-label="Colours">{items}</ul>'


def bar(rate: float, interval: tuple[float, float] | None = None, second: bool = False) -> str:
    """A horizontal bar of a rate in [0, 1] with its interval, if it has one; ``second`` for the other colour."""
    label, whiskers = f"{rate:.1%}", ""
    if interval is not None:
        low, high = (100 * bound for bound in interval)
        label += f", between {low:.0f} % and {high:.0f} %"
        ends = "".join(f'<line x1="{x:.2f}" x2="{x:.2f}" y1="2" y2="8"/>' for x in (low, high))
        whiskers = f'<line x1="{low:.2f}" x2="{high:.2f}" y1="5" y2="5"/>{ends}'
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect class="rail" x="{100 * rate:.2f}" y="4" width="{100 - 100 * rate:.2f}" height="2"/>'
        f'<rect class="{"rate second" if second else "rate"}" y="1" width="{100 * rate:.2f}" height="8"/>'
        f"{whiskers}</svg>"
    )


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """A line chart of one quantity over training steps, its last value in the caption."""
    x, y = np.asarray(steps, float), np.asarray(values, float)
    kept = np.isfinite(y)
    x, y = x[kept], y[kept]
    if not len(y):
        return f"<figure><figcaption>{escape(name)}: no finite values</figcaption></figure>"
    last = y[-1]
    if len(y) > MOST_POINTS:
        chosen = np.unique(np.linspace(0, len(y) - 1, MOST_POINTS).astype(int))
        x, y = x[chosen], y[chosen]
    low, high = _range(y)
    left, right = float(x[0]), float(x[-1] if x[-1] > x[0] else x[0] + 1)
    px = MARGIN + (x - left) / (right - left) * (CURVE_WIDTH - MARGIN - 8)
    py = 8 + (high - np.minimum(y, high)) / (high - low) * (CURVE_HEIGHT - 32)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    bottom = CURVE_HEIGHT - 24
    drawing = (
        f'<svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" role="img" aria-label="{escape(name)} over training steps">'
        f'<path class="axis" d="M{MARGIN} 8V{bottom}H{CURVE_WIDTH - 8}"/><polyline class="curve" points="{line}"/>'
        f'<circle class="dot" cx="{px[-1]:.1f}" cy="{py[-1]:.1f}" r="3"/>'
        f'<text x="{MARGIN - 4}" y="14" text-anchor="end">{high:.2g}</text>'
        f'<text x="{MARGIN - 4}" y="{bottom}" text-anchor="end">{low:.2g}</text>'
        f'<text x="{MARGIN}" y="{CURVE_HEIGHT - 8}">{left:.0f}</text>'
        f'<text x="{CURVE_WIDTH - 8}" y="{CURVE_HEIGHT - 8}" text-anchor="end">step {right:.0f}</text></svg>'
    )
    return f"<figure>{drawing}<figcaption>{escape(name)}: {last:.4g} at the end</figcaption></figure>"


def _range(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest of the axis: that of the values, apart from the highest hundredth, which are spikes."""
    low, high = float(values.min()), float(np.quantile(values, 0.99) if len(values) > 20 else values.max())
    high = max(high, float(values[-1]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
