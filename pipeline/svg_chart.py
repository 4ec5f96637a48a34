"""Small charts as shapes of an SVG: coordinates and classes here, colours in the style of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Attributes = Mapping[str, float | str]


@dataclass(frozen=True)
class Shape:
    """One element: a tag of ours, its attributes, and a text that may come from the data."""

    tag: str
    attributes: Attributes
    text: str = ""
    title: str = ""


@dataclass(frozen=True)
class Chart:
    """Shapes in a box of 360 units, which on a phone is as wide as the page; `says` is for those who cannot see it."""

    says: str
    shapes: tuple[Shape, ...]
    legend: tuple[tuple[str, str], ...] = ()
    width: int = 360
    height: int = 240


@dataclass(frozen=True)
class Scale:
    """From values to coordinates, both ends included; logarithmic where asked. It may fall, from high to low."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Coordinate of a value; values beyond the ends lie on them."""
        low, high = self.low, self.high
        value = min(max(value, min(low, high)), max(low, high))
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high != low else 0.5
        return round(self.start + (self.end - self.start) * share, 1)


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from low to high, about `count` steps apart.

    >>> round_ticks(0, 0.9), round_ticks(0.42, 0.55)
    ([0.0, 0.25, 0.5, 0.75], [0.45, 0.5, 0.55])
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if rough <= size * times * 1.0001)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * at, 12) for at in range(first, last + 1)]


@dataclass(frozen=True)
class Plot:
    """A box with two scales to draw in."""

    x: Scale
    y: Scale
    shapes: list[Shape] = field(default_factory=list)

    def rule(self, x1: float, y1: float, x2: float, y2: float, kind: str, title: str = "") -> None:
        """Draw a straight line between two points in values."""
        ends = {"x1": self.x(x1), "y1": self.y(y1), "x2": self.x(x2), "y2": self.y(y2)}
        self.shapes.append(Shape("line", {"class": kind, **ends}, title=title))

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw a line through points in values."""
        points = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, ys, strict=True))
        self.shapes.append(Shape("polyline", {"class": kind, "points": points}))

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], kind: str) -> None:
        """Fill between two lines."""
        there = [f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, highs, strict=True)]
        back = [f"{self.x(x)},{self.y(y)}" for x, y in zip(reversed(xs), reversed(lows), strict=True)]
        self.shapes.append(Shape("polygon", {"class": kind, "points": " ".join([*there, *back])}))

    def dot(self, x: float, y: float, kind: str, title: str = "", radius: float = 3.5) -> None:
        """Draw a point."""
        self.shapes.append(Shape("circle", {"class": kind, "cx": self.x(x), "cy": self.y(y), "r": radius}, title=title))

    def bar(self, x1: float, x2: float, y1: float, y2: float, kind: str, title: str = "") -> None:
        """Fill a box between corners in values, whichever way round."""
        left, right = sorted((self.x(x1), self.x(x2)))
        top, bottom = sorted((self.y(y1), self.y(y2)))
        box = {"x": left, "y": top, "width": round(right - left, 1), "height": round(bottom - top, 1)}
        self.shapes.append(Shape("rect", {"class": kind, **box}, title=title))

    def write(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> None:
        """Write at a point in coordinates."""
        self.shapes.append(Shape("text", {"class": kind, "x": x, "y": y, "text-anchor": anchor}, text))

    def axes(self, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]], x_name: str, y_name: str) -> None:
        """Draw grid lines, ticks and the names of the axes."""
        bottom = self.y.start
        for value, text in ys:
            at = self.y(value)
            ends = {"x1": self.x.start, "y1": at, "x2": self.x.end, "y2": at}
            self.shapes.append(Shape("line", {"class": "grid", **ends}))
            self.write(self.x.start - 5, at + 4, text, "end")
        for value, text in xs:
            self.write(self.x(value), bottom + 15, text, "middle")
        self.write((self.x.start + self.x.end) / 2, bottom + 31, x_name, "middle", "axis-name")
        self.write(4, self.y.end - 10, y_name, "start", "axis-name")


def make_plot(
    x: tuple[float, float], y: tuple[float, float], *, is_log: bool = False, height: int = 240, left: int = 46
) -> Plot:
    """An empty box with room for the axes; `x` and `y` are the values at its ends."""
    return Plot(Scale(*x, left, 338, is_log), Scale(*y, height - 40, 26))
