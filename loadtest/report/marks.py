"""What a chart is made of: paths and texts at their coordinates, drawn by `drawing.svg`.

Units are those of the drawing, which is as wide as a telephone's page: there a unit is a pixel, and
elsewhere somewhat more, so text of 12 units can always be read. How wide text gets depends on the
reader's font; where that matters it is taken for as wide as a wide one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.report.looks import SYMBOLS

WIDTH = 380
# Of characters of 12 units in DejaVu Sans, which is among the widest that a reader may have.
CHARACTER = 6.9
DIGIT = 7.7
POINT = 4.0

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    css: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Path:
    d: str
    css: str
    kind: str = "path"


Mark = Text | Path


@dataclass(frozen=True)
class Drawing:
    """One SVG: what it says is in `title` and `description` for those who do not see it."""

    height: float
    title: str
    description: str
    marks: list[Mark]
    width: float = WIDTH


@dataclass(frozen=True)
class Frame:
    """Where in a drawing the figures are."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x(self, place: float) -> float:
        return self.left + place * self.width

    def y(self, place: float) -> float:
        """Upwards."""
        return self.bottom - place * self.height


def wide(text: str) -> float:
    """About how many units a text takes, rather more than less."""
    return sum(map(_width, text))


def fitting(text: str, room: float) -> str:
    """The text, or so much of it as has room."""
    if wide(text) <= room:
        return text
    while text and wide(text) + DIGIT > room:
        text = text[:-1]
    return f"{text}…"


def number(value: float) -> str:
    """A coordinate, to the tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def polyline(points: Sequence[tuple[float, float]], css: str) -> Path:
    return Path("M" + "L".join(f"{number(x)} {number(y)}" for x, y in points), css)


def rectangle(x: float, y: float, width: float, height: float, css: str) -> Path:
    sides = f"h{number(width)}v{number(height)}h{number(-width)}z"
    return Path(f"M{number(x)} {number(y)}{sides}", css)


def symbol(x: float, y: float, look: int) -> Path:
    return Path(f"M{number(x)} {number(y)}{SYMBOLS[look]}", f"symbol look-{look}")


def dot(x: float, y: float, look: int) -> Path:
    """One run."""
    circle = "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z"
    return Path(f"M{number(x)} {number(y)}{circle}", f"dot look-{look}")


def cross(x: float, y: float, look: int) -> Path:
    """Where a run that does not count ended."""
    return Path(f"M{number(x)} {number(y)}m-4 -4l8 8m0 -8l-8 8", f"cross look-{look}")


def upright_whisker(x: float, low: float, high: float, look: int) -> Path:
    bounds = f"M{number(x - 3)} {number(low)}h6M{number(x - 3)} {number(high)}h6"
    return Path(f"{bounds}M{number(x)} {number(low)}V{number(high)}", f"whisker look-{look}")


def level_whisker(y: float, low: float, high: float) -> Path:
    bounds = f"M{number(low)} {number(y - 4)}v8M{number(high)} {number(y - 4)}v8"
    return Path(f"{bounds}M{number(low)} {number(y)}H{number(high)}", "whisker")


def _width(character: str) -> float:
    if character.isdigit():
        return DIGIT
    return POINT if character in "., " else CHARACTER
