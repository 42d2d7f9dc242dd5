"""A plot of time and peak memory against rows, both axes logarithmic, as SVG."""

from __future__ import annotations

from math import log10

_ROWS = {"1k": 1e3, "10k": 1e4, "50k": 5e4, "100k": 1e5, "1m": 1e6, "10m": 1e7}
_COLOURS = {"cookbook": "#c0504d", "duckdb": "#8a8a8a", "sqlbatch": "#2f6db3"}
_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 60, 40
_Measured = dict[str, dict[str, dict[str, dict[str, float]]]]


def plot(measured: _Measured, steps: dict[str, dict[str, float]]) -> str:
    """Return panels: prepare and load in seconds, the peak of memory of both in MB, and a step of nothing to do."""
    panels = [
        _panel(0, "prepare: seconds", _points(measured, ("prepare",), "seconds"), 0.1, 1000),
        _panel(1, "load and join: seconds", _points(measured, ("load",), "seconds"), 0.1, 1000),
        _panel(2, "peak memory: MB", _points(measured, ("prepare", "load"), "peak"), 100, 10000),
        _panel(3, "a step of nothing to do: seconds", _idle(steps), 0.01, 100),
    ]
    names = "".join(
        f'<circle cx="{_LEFT + i * 110}" cy="{_TOP + _HEIGHT + 52}" r="4" fill="{colour}"/>'
        f'<text x="{_LEFT + 10 + i * 110}" y="{_TOP + _HEIGHT + 56}">{name}</text>'
        for i, (name, colour) in enumerate(_COLOURS.items())
    )
    width, height = 4 * (_WIDTH + _LEFT) + 20, _TOP + _HEIGHT + 70
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}{names}</svg>\n'
    )


def _idle(steps: dict[str, dict[str, float]]) -> dict[str, list[tuple[float, float]]]:
    return {"sqlbatch": [(at["requests"], at["after"]) for at in steps.values()]}


def _points(measured: _Measured, whats: tuple[str, ...], of: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for size, rows in _ROWS.items():
        for who in _COLOURS:
            at = [measured[size][what][who][of] for what in whats if who in measured.get(size, {}).get(what, {})]
            if at:
                found.setdefault(who, []).append((rows, max(at)))
    return found


def _panel(number: int, title: str, points: dict[str, list[tuple[float, float]]], low: float, high: float) -> str:
    left = number * (_WIDTH + _LEFT) + _LEFT

    def place(rows: float, value: float) -> str:
        across = left + (log10(rows) - 4) / 3 * (_WIDTH - 20)
        up = (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
        return f"{across:.1f},{_TOP + _HEIGHT - up * _HEIGHT:.1f}"

    parts = [f'<text x="{left}" y="{_TOP - 14}" font-weight="bold">{title}</text>']
    for power in range(round(log10(low)), round(log10(high)) + 1):
        x, y = place(1e4, 10.0**power).split(",")
        end = place(1e7, 1).split(",")[0]
        parts.append(f'<line x1="{x}" y1="{y}" x2="{end}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y) + 4}" text-anchor="end">{10.0**power:g}</text>')
    for power, label in ((4, "10k"), (5, "100k"), (6, "1m"), (7, "10m rows")):
        x = place(10.0**power, low).split(",")[0]
        parts.append(f'<text x="{x}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{label}</text>')
    for who, at in points.items():
        path = " ".join(place(*point) for point in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_COLOURS[who]}" stroke-width="2"/>')
        for point in at:
            x, y = place(*point).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{_COLOURS[who]}"/>')
    return "".join(parts)
