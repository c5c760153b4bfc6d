"""Building blocks of the reports: the page itself, tables, bars with intervals, curves; all of it escaped HTML."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

TEMPLATES = Path(__file__).parent / "templates"
CURVE_WIDTH, CURVE_HEIGHT, MARGIN = 360, 200, 48
MOST_POINTS = 400
"""Points of a curve; more could not be told apart on a screen."""


def page(title: str, about: str, body: str, data: dict[str, Any]) -> str:
    """One HTML document that needs nothing but itself; ``about`` and ``body`` are HTML, ``data`` is for the script."""
    texts = {name: (TEMPLATES / f"report.{name}").read_text() for name in ("css", "js", "html")}
    return Template(texts["html"]).substitute(
        title=html.escape(title),
        css=texts["css"],
        script=texts["js"],
        about=about,
        body=body,
        # Nothing in the data may end the script element it is in.
        data=json.dumps(data).replace("<", "\\u003c"),
    )


def escape(text: object) -> str:
    return html.escape(str(text))


def table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], numbers: Sequence[int] = ()) -> str:
    """Rows are (class, cells) with cells of HTML; columns in ``numbers`` are set to the right."""

    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = [' class="number"' if place in numbers else "" for place in range(len(values))]
        scope = ' scope="col"' if tag == "th" else ""
        return "".join(f"<{tag}{kind}{scope}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    head = f"<thead><tr>{cells('th', [escape(heading) for heading in headings])}</tr></thead>"
    lines = "".join(f'<tr class="{kind}">{cells("td", values)}</tr>' for kind, values in rows)
    return f'<div class="scroll"><table>{head}<tbody>{lines}</tbody></table></div>'


def bar(rate: float, interval: tuple[float, float], second: bool = False) -> str:
    """A horizontal bar of a rate in [0, 1] with its interval; ``second`` for the other colour."""
    low, high = (100 * bound for bound in interval)
    kind = "rate second" if second else "rate"
    whiskers = "".join(f'<line x1="{x:.2f}" x2="{x:.2f}" y1="2" y2="8"/>' for x in (low, high))
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{rate:.1%}, between {low:.0f} % and {high:.0f} %">'
        f'<rect class="rail" y="4" width="100" height="2"/>'
        f'<rect class="{kind}" y="1" width="{100 * rate:.2f}" height="8"/>'
        f'<line x1="{low:.2f}" x2="{high:.2f}" y1="5" y2="5"/>{whiskers}</svg>'
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
