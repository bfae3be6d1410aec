"""Charts as SVG inside a page: lines over epochs, and how sure against how often right. Colours are the page's own."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Line", "line_chart", "reliability_chart"]

_WIDTH, _HEIGHT = 420, 230
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 14, 10, 30


@dataclass(frozen=True)
class Line:
    """``values`` at x = 1, 2, ...; ``style``: a class of the page's style sheet."""

    name: str
    values: tuple[float, ...]
    style: str


def line_chart(title: str, lines: Sequence[Line], mark: int | None = None, top: float | None = None) -> Markup:
    """Lines over epochs. ``mark``: the epoch that was chosen; ``top``: of the axis, by default the largest value."""
    longest = max(len(line.values) for line in lines)
    highest = top or max(max(line.values) for line in lines) or 1.0
    parts = [_axes(title, [(f"{highest * i / 4:.2g}", i / 4) for i in range(5)], _epoch_ticks(longest), "epoch")]
    place = lambda epoch: 0.5 if longest < 2 else (epoch - 1) / (longest - 1)  # noqa: E731
    if mark is not None:
        x = _x(place(min(mark, longest)))
        end = x > _WIDTH - 90
        parts.append(
            Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                x, _TOP, _HEIGHT - _BOTTOM
            )
        )
        parts.append(
            Markup('<text class="marked" x="{:.1f}" y="{}" text-anchor="{}">chosen: {}</text>').format(
                x - 4 if end else x + 4, _TOP + 9, "end" if end else "start", mark
            )
        )
    for line in lines:
        points = " ".join(
            f"{_x(place(i)):.1f},{_y(min(value / highest, 1.0)):.1f}" for i, value in enumerate(line.values, 1)
        )
        parts.append(
            Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>').format(
                line.style, points, line.name
            )
        )
    return _svg(title, parts)


def reliability_chart(bins: Sequence[tuple[float, float, int]]) -> Markup:
    """``bins``: mean score, share that is right, and number of clips, of each bin that has any."""
    ticks = [(f"{i / 4:.2g}", i / 4) for i in range(5)]
    parts = [_axes("share that is right", ticks, ticks, "score of the answer")]
    parts.append(
        Markup('<line class="even" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
            _x(0), _y(0), _x(1), _y(1)
        )
    )
    most = max((count for *_, count in bins), default=1)
    for score, right, count in bins:
        x, y = _x(score), _y(right)
        radius = 3 + 7 * (count / most) ** 0.5
        parts.append(
            Markup(
                '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{} clips: score {:.2f}, right {:.2f}</title></circle>'
            ).format(x, y, radius, count, score, right)
        )
    return _svg("how sure against how often right", parts)


def _epoch_ticks(longest: int) -> list[tuple[str, float]]:
    if longest < 2:
        return [("1", 0.5)]
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if longest / s <= 8)
    return [(str(e), (e - 1) / (longest - 1)) for e in (1, *range(step, longest + 1, step)) if e == 1 or e > step / 2]


def _axes(title: str, up: Sequence[tuple[str, float]], across: Sequence[tuple[str, float]], below: str) -> Markup:
    parts = []
    for text, share in up:
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y=_y(share)
            )
        )
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_LEFT - 6, _y(share) + 4, text)
        )
    for text, share in across:
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                _x(share), _HEIGHT - _BOTTOM + 15, text
            )
        )
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_WIDTH - _RIGHT, _HEIGHT - 2, below))
    return Markup("").join(parts)


def _svg(title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, title, Markup("").join(parts)
    )


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)
