"""The shape of growth: time and memory against rows, and against what the file holds; both axes logarithmic, as SVG."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROWS = {"1k": 1e3, "10k": 1e4, "50k": 5e4, "100k": 1e5, "1m": 1e6, "10m": 1e7}
_COLOURS = {"cookbook": "#c0504d", "duckdb": "#8a8a8a", "sqlbatch": "#2f6db3"}
_OF_JOBS = {"step": "#2f6db3", "jobs": "#c0504d", "show": "#8a8a8a", "costs": "#5a9a4a"}
_LABELS = {0: "1", 3: "1k", 4: "10k", 5: "100k", 6: "1m", 7: "10m"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _ACROSS = 300, 220, 60, 40, 3
_BELOW = 60  # for the labels of an axis and the names of the lines
_Measured = dict[str, dict[str, dict[str, dict[str, float]]]]
_Points = dict[str, list[tuple[float, float]]]


def plot(measured: _Measured, scale: Mapping[str, Any]) -> str:
    """Return panels: prepare, load and the peak of memory against rows, and steps and commands against the file."""
    of_rows, of_jobs = (3, 7, "rows"), (0, 4, "jobs in the file")
    panels = [
        _panel(0, "prepare: seconds", _points(measured, ("prepare",), "seconds"), (0.1, 1000), of_rows),
        _panel(1, "load and join: seconds", _points(measured, ("load",), "seconds"), (0.1, 1000), of_rows),
        _panel(2, "peak memory: MB", _points(measured, ("prepare", "load"), "peak"), (100, 10000), of_rows),
        _panel(3, "an idle step: seconds", _idle(scale.get("steps", {})), (0.01, 100),
               (5, 7, "requests in the file")),
        _panel(4, "CPU seconds", _history(scale.get("history", {})), (0.01, 100), of_jobs),
    ]  # fmt: skip
    width = _ACROSS * (_WIDTH + _LEFT) + 20
    height = -(-len(panels) // _ACROSS) * (_TOP + _HEIGHT + _BELOW)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


def _idle(steps: dict[str, dict[str, float]]) -> _Points:
    return {"sqlbatch": [(at["requests"], at["after"]) for at in steps.values()]}


def _history(history: dict[str, dict[str, float]]) -> _Points:
    return {name: [(float(count), at[name]) for count, at in history.items()] for name in _OF_JOBS}


def _points(measured: _Measured, whats: tuple[str, ...], of: str) -> _Points:
    found: _Points = {}
    for size, rows in _ROWS.items():
        for who in _COLOURS:
            at = [measured[size][what][who][of] for what in whats if who in measured.get(size, {}).get(what, {})]
            if at:
                found.setdefault(who, []).append((rows, max(at)))
    return found


def _panel(number: int, title: str, points: _Points, values: tuple[float, float], axis: tuple[int, int, str]) -> str:
    left = number % _ACROSS * (_WIDTH + _LEFT) + _LEFT
    top = number // _ACROSS * (_TOP + _HEIGHT + _BELOW) + _TOP
    (low, high), (first, last, unit) = values, axis

    def place(at: float, value: float) -> tuple[float, float]:
        up = (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
        return left + (log10(at) - first) / (last - first) * (_WIDTH - 20), top + _HEIGHT - up * _HEIGHT

    parts = [f'<text x="{left}" y="{top - 14}" font-weight="bold">{title}, against {unit}</text>']
    for power in range(round(log10(low)), round(log10(high)) + 1):
        x, y = place(10.0**first, 10.0**power)
        parts.append(f'<line x1="{x}" y1="{y:.1f}" x2="{place(10.0**last, 1)[0]}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for power, label in _LABELS.items():
        if first <= power <= last:
            x, y = place(10.0**power, low)
            parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{label}</text>')
    for who, at in points.items():
        colour = _COLOURS.get(who) or _OF_JOBS[who]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in at))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in (place(*p) for p in at))
    for place_of_name, who in enumerate(points):
        x, y, colour = left + place_of_name * 75, top + _HEIGHT + 38, _COLOURS.get(who) or _OF_JOBS[who]
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y}">{who}</text>')
    return "".join(parts)
