"""Curves as a small drawing for the page: lines that differ by dash as well as by colour, with numbers on the axes. Standard library only."""

import html
from collections.abc import Sequence

from fedliver.slicer.charts import Curve

_WIDTH, _HEIGHT = 336, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 26, 30
_COLOURS = ("#7cc4ff", "#ffb27c")
_DASHES = ("", "5 3")


def svg_of(curves: Sequence[Curve], title: str, x_title: str) -> str:
    """An SVG element with a title that a screen reader reads; empty where no curve has a point. Values below 0 are drawn at 0."""
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return ""
    last = max(1.0, *(x for curve in drawn for x, _y in curve.points))
    top = max(1.0, *(y for curve in drawn for _x, y in curve.points))
    lines = "".join(_line(number, curve, last, top) for number, curve in enumerate(drawn))
    said = "; ".join(f"{curve.name}: {curve.points[-1][1]:.3f}" for curve in drawn)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg" font-size="11" fill="#f2f5f7">'
        f"<title>{html.escape(f'{title}. {said}')}</title>{_axes(last, top, x_title)}{lines}</svg>"
    )


def _axes(last: float, top: float, x_title: str) -> str:
    floor = _HEIGHT - _BOTTOM
    rows = "".join(_row(value, _y(value, top)) for value in (0.0, top / 2, top))
    steps = max(1, round(last / 6))
    marks = "".join(f'<text x="{_x(at, last):.1f}" y="{floor + 13}" text-anchor="middle">{at}</text>' for at in range(0, int(last) + 1, steps))
    return f'{rows}{marks}<text x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(x_title)}</text>'


def _row(value: float, y: float) -> str:
    return f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#4a5560"/><text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>'


def _line(number: int, curve: Curve, last: float, top: float) -> str:
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    places = [(_x(x, last), _y(max(0.0, y), top)) for x, y in curve.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in (places if len(places) <= 60 else places[-1:]))
    stroke = f'stroke="{colour}" stroke-width="2" fill="none" stroke-dasharray="{dash}"'
    at = _LEFT + number * 100
    key = f'<path d="M{at} 10h22" {stroke}/><text x="{at + 27}" y="14">{html.escape(curve.name)}</text>'
    return f'<path d="{path}" {stroke}/>{dots}{key}'


def _x(value: float, last: float) -> float:
    return _LEFT + value / last * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)
