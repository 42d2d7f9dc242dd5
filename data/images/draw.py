"""Draw the pictures of data/furniture.csv: one flat drawing for each item, the same bytes every time."""

from __future__ import annotations

import colorsys
import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
SIZE = 512
SCALE = 4
MAX_BYTES = 15_000

Colour = tuple[int, int, int]
Point = tuple[float, float]

COLOURS: dict[str, Colour] = {
    "amber": (214, 150, 72),
    "black": (58, 58, 66),
    "blue": (58, 112, 196),
    "brown": (134, 88, 56),
    "chestnut": (150, 76, 46),
    "coral": (240, 116, 98),
    "dark brown": (96, 62, 44),
    "emerald": (26, 138, 98),
    "forest green": (48, 104, 66),
    "gold": (214, 166, 58),
    "grey": (134, 142, 152),
    "honey": (224, 166, 92),
    "mint": (142, 210, 180),
    "navy": (40, 58, 112),
    "orange": (236, 136, 48),
    "pale blue": (160, 198, 226),
    "purple": (126, 82, 166),
    "red": (208, 56, 54),
    "rose": (222, 134, 148),
    "russet": (164, 84, 52),
    "sage": (150, 172, 134),
    "sand": (222, 190, 144),
    "sky blue": (104, 172, 224),
    "straw": (218, 188, 112),
    "teal": (26, 130, 138),
    "terracotta": (198, 98, 68),
    "turquoise": (50, 178, 182),
    "white": (238, 236, 232),
    "yellow": (246, 200, 58),
}

INK: Colour = (44, 40, 52)
PAPER: Colour = (255, 252, 245)
CREAM: Colour = (250, 238, 212)
GLOW: Colour = (255, 240, 178)
LEAF: Colour = (86, 146, 92)
BOOKS: tuple[Colour, ...] = ((206, 88, 76), (232, 178, 82), (84, 142, 146), (240, 228, 204), (98, 108, 160))


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return colour a with the given share of colour b in it."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Tone:
    """A colour with the shades of it that a drawing needs."""

    base: Colour

    @property
    def light(self) -> Colour:
        """The side that faces the light."""
        return mix(self.base, PAPER, 0.22)

    @property
    def pale(self) -> Colour:
        """The brightest edge."""
        return mix(self.base, PAPER, 0.45)

    @property
    def dark(self) -> Colour:
        """The side turned away."""
        return mix(self.base, INK, 0.2)

    @property
    def deep(self) -> Colour:
        """Gaps, seams and the parts behind."""
        return mix(self.base, INK, 0.42)


WOOD = Tone((176, 124, 78))
METAL = Tone((112, 118, 130))
BRASS = Tone((206, 162, 74))
LINEN = Tone((244, 236, 222))


class Canvas:
    """A picture in units of 512 by 512, painted four times larger so that edges come out smooth."""

    def __init__(self, colour: Colour) -> None:
        wall, disc = backdrop(colour)
        self.wall = wall
        self.image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), wall)
        self.draw = ImageDraw.Draw(self.image)
        self.oval(46, 40, 466, 460, disc)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 0) -> None:
        """Fill a rectangle, with round corners if a radius is given."""
        box = (x0 * SCALE, y0 * SCALE, x1 * SCALE - 1, y1 * SCALE - 1)
        self.draw.rounded_rectangle(box, radius * SCALE, fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """Fill the ellipse inside a box."""
        self.draw.ellipse((x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE), fill)

    def half(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """Fill the upper half of the ellipse inside a box."""
        self.draw.pieslice((x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE), 180, 360, fill)

    def dot(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """Fill a circle around a point."""
        self.oval(x - radius, y - radius, x + radius, y + radius, fill)

    def poly(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a thick line with round ends and joints."""
        self.draw.line([(x * SCALE, y * SCALE) for x, y in points], fill, round(width * SCALE), joint="curve")
        for x, y in (points[0], points[-1]):
            self.dot(x, y, width / 2, fill)

    def ring(self, x0: float, y0: float, x1: float, y1: float, width: float, fill: Colour) -> None:
        """Draw the outline of the ellipse inside a box."""
        box = (x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE)
        self.draw.ellipse(box, outline=fill, width=round(width * SCALE))

    def shadow(self, x: float, y: float, half_width: float, half_height: float = 14) -> None:
        """Lay a soft shadow on the floor, under what is painted next."""
        self.blur([(x - half_width, y - half_height, x + half_width, y + half_height)], mix(self.wall, INK, 0.34), 7)

    def blur(self, boxes: Sequence[tuple[float, float, float, float]], fill: Colour, radius: float) -> None:
        """Paint ellipses with a soft edge."""
        small = Image.new("L", (SIZE, SIZE), 0)
        pen = ImageDraw.Draw(small)
        for box in boxes:
            pen.ellipse(box, 255)
        mask = small.filter(ImageFilter.GaussianBlur(radius)).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste(fill, (0, 0), mask)

    def save(self, path: Path) -> int:
        """Write a small palette PNG and return its size in bytes."""
        small = self.image.resize((SIZE, SIZE), Image.Resampling.BOX)
        flat = small.quantize(colors=112, method=Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
        flat.save(path, format="PNG", optimize=True)
        return path.stat().st_size


def backdrop(colour: Colour) -> tuple[Colour, Colour]:
    """Return a soft wall colour and a lighter one for the disc, both opposite in hue to the item."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
    hue = (hue + 0.5) % 1 if saturation > 0.15 else 0.09
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.15, 0.9)
    wall = (round(red * 255), round(green * 255), round(blue * 255))
    return wall, mix(wall, PAPER, 0.5)


def bezier(a: Point, b: Point, c: Point, d: Point, steps: int = 32) -> list[Point]:
    """Return points along a cubic curve from a to d."""
    points = []
    for step in range(steps + 1):
        t = step / steps
        p, q, r, s = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        points.append(
            (p * a[0] + q * b[0] + r * c[0] + s * d[0], p * a[1] + q * b[1] + r * c[1] + s * d[1]),
        )
    return points


def mirrored(half: Sequence[Point], axis: float = 256) -> list[Point]:
    """Close a right-hand outline, given from top to bottom, with its mirror image."""
    return [*half, *((2 * axis - x, y) for x, y in reversed(half))]


def leg(c: Canvas, top: Point, foot: Point, widths: tuple[float, float], fill: Colour) -> None:
    """Draw a leg that tapers from its top to its foot."""
    wide, thin = widths[0] / 2, widths[1] / 2
    c.poly(
        [(top[0] - wide, top[1]), (top[0] + wide, top[1]), (foot[0] + thin, foot[1]), (foot[0] - thin, foot[1])],
        fill,
    )


def slab(c: Canvas, x0: float, x1: float, y: float, depth: float, thick: float, tone: Tone) -> None:
    """Draw a board seen slightly from above, whose front edge runs from x0 to x1 at height y."""
    inset = depth * 0.55
    c.poly([(x0, y), (x0 + inset, y - depth), (x1 - inset, y - depth), (x1, y)], tone.light)
    c.rect(x0, y, x1, y + thick, tone.dark, min(3, thick / 3))


def drawer(c: Canvas, box: tuple[float, float, float, float], tone: Tone, knobs: int = 1) -> None:
    """Draw a drawer front with its knobs."""
    x0, y0, x1, y1 = box
    c.rect(x0, y0, x1, y1, tone.light, 5)
    c.rect(x0, y1 - 5, x1, y1, mix(tone.light, tone.base, 0.7), 3)
    for number in range(knobs):
        x = x0 + (x1 - x0) * (number + 0.5) / knobs
        c.dot(x, (y0 + y1) / 2 + 1.5, 7, tone.deep)
        c.dot(x, (y0 + y1) / 2, 6, BRASS.base)


def books(c: Canvas, x: float, floor: float, heights: Sequence[float], first: int = 0) -> float:
    """Stand books of the given heights on a shelf and return where they end."""
    for number, height in enumerate(heights):
        width = 11 + (number * 5 + first) % 7
        colour = BOOKS[(number + first) % len(BOOKS)]
        c.rect(x, floor - height, x + width, floor, colour, 2)
        c.rect(x, floor - height + 8, x + width, floor - height + 11, mix(colour, INK, 0.3))
        x += width + 1.5
    return x


def plant(c: Canvas, x: float, floor: float, size: float, pot: Colour) -> None:
    """Draw a small plant in a pot."""
    for lean, height in ((-0.8, 0.9), (0.8, 0.9), (-0.4, 1.35), (0.4, 1.3), (0.0, 1.55)):
        top = (x + lean * size, floor - size * (0.7 + height))
        root = (x, floor - size * 0.7)
        side = ((top[1] - root[1]) * 0.16, (root[0] - top[0]) * 0.16 + size * 0.12)
        middle = ((top[0] + root[0]) / 2, (top[1] + root[1]) / 2)
        left, right = (middle[0] - side[0], middle[1] - side[1]), (middle[0] + side[0], middle[1] + side[1])
        c.poly(bezier(root, left, left, top, 10) + bezier(top, right, right, root, 10), mix(LEAF, INK, abs(lean) * 0.2))
    c.poly(
        [
            (x - size * 0.6, floor - size * 0.85),
            (x + size * 0.6, floor - size * 0.85),
            (x + size * 0.42, floor),
            (x - size * 0.42, floor),
        ],
        pot,
    )
    c.rect(x - size * 0.66, floor - size * 0.95, x + size * 0.66, floor - size * 0.72, mix(pot, PAPER, 0.25), 2)


def dining_chair(c: Canvas, tone: Tone) -> None:
    """Draw a wooden chair with a slatted back."""
    c.shadow(256, 430, 128)
    leg(c, (184, 300), (180, 408), (15, 11), tone.deep)
    leg(c, (328, 300), (332, 408), (15, 11), tone.deep)
    c.rect(182, 362, 330, 372, tone.deep, 4)
    for x in (216, 256, 296):
        c.rect(x - 9, 110, x + 9, 275, tone.base, 4)
    c.rect(176, 218, 336, 234, tone.dark, 5)
    c.line([(184, 290), (176, 96)], 17, tone.dark)
    c.line([(328, 290), (336, 96)], 17, tone.dark)
    c.poly(
        bezier((168, 98), (210, 74), (302, 74), (344, 98)) + bezier((344, 134), (302, 114), (210, 114), (168, 134)),
        tone.light,
    )
    leg(c, (172, 312), (166, 436), (20, 13), tone.base)
    leg(c, (340, 312), (346, 436), (20, 13), tone.base)
    c.rect(168, 330, 344, 344, tone.dark, 2)
    slab(c, 150, 362, 306, 42, 24, tone)


def armchair(c: Canvas, tone: Tone) -> None:
    """Draw an upholstered armchair with a buttoned back."""
    c.shadow(256, 434, 168)
    for x, lean in ((138, -8), (374, 8)):
        leg(c, (x, 390), (x + lean, 440), (20, 9), WOOD.dark)
    c.poly(mirrored([*bezier((256, 78), (346, 78), (398, 110), (384, 200)), (372, 330)]), tone.base)
    c.poly(mirrored([*bezier((256, 94), (334, 94), (380, 120), (366, 204)), (356, 320)]), tone.light)
    for row, y in enumerate((138, 182, 226)):
        for number in range(3 + row % 2):
            c.dot(256 + (number - (2 + row % 2) / 2) * 62, y, 5, tone.deep)
    c.rect(120, 318, 392, 400, tone.dark, 16)
    c.rect(146, 262, 366, 334, tone.pale, 28)
    c.rect(146, 306, 366, 338, tone.base, 16)
    for x in (82, 354):
        c.rect(x, 214, x + 76, 402, tone.base, 36)
        c.rect(x + 10, 224, x + 66, 262, tone.light, 19)


def sofa(c: Canvas, tone: Tone) -> None:
    """Draw a sofa for three with two loose cushions."""
    c.shadow(256, 402, 220)
    for x in (72, 256, 440):
        leg(c, (x, 370), (x, 408), (18, 10), WOOD.dark)
    c.rect(48, 160, 464, 350, tone.dark, 30)
    for number in range(3):
        x = 84 + number * 115
        c.rect(x, 172, x + 114, 300, tone.base, 22)
        c.rect(x + 8, 180, x + 106, 220, tone.light, 18)
    c.rect(44, 320, 468, 380, tone.dark, 14)
    for number in range(3):
        x = 82 + number * 116
        c.rect(x, 284, x + 115, 336, tone.light, 16)
        c.rect(x, 318, x + 115, 338, tone.base, 9)
    for x in (26, 426):
        c.rect(x, 232, x + 60, 382, tone.base, 26)
        c.rect(x + 8, 240, x + 52, 270, tone.light, 15)
    for x, colour in ((124, (232, 178, 82)), (388, (204, 104, 84))):
        c.poly(
            [
                (x - 36, 214),
                (x, 220),
                (x + 36, 214),
                (x + 31, 251),
                (x + 36, 288),
                (x, 282),
                (x - 36, 288),
                (x - 31, 251),
            ],
            colour,
        )


def floor_lamp(c: Canvas, tone: Tone) -> None:
    """Draw a lamp that hangs from an arc over the floor."""
    c.blur([(286, 220, 426, 330)], mix(c.wall, GLOW, 0.9), 26)
    c.shadow(140, 436, 70, 11)
    c.oval(82, 416, 198, 444, METAL.deep)
    c.oval(82, 408, 198, 436, METAL.base)
    c.line([(140, 420), *bezier((140, 250), (140, 60), (330, 20), (356, 140))], 9, tone.base)
    c.line([(138, 418), *bezier((138, 250), (138, 60), (328, 18), (353, 134))], 3, tone.pale)
    c.oval(288, 196, 424, 224, GLOW)
    c.dot(356, 212, 20, (255, 250, 224))
    c.half(284, 138, 428, 282, tone.base)
    c.poly(
        bezier((298, 206), (298, 164), (326, 148), (346, 146)) + bezier((346, 146), (322, 160), (314, 178), (314, 206)),
        tone.pale,
    )
    c.rect(284, 206, 428, 214, tone.dark, 4)
    c.rect(344, 126, 368, 146, tone.dark, 5)


def table_lamp(c: Canvas, tone: Tone) -> None:
    """Draw a round-bellied lamp with a cloth shade."""
    c.blur([(120, 60, 392, 290)], mix(c.wall, GLOW, 0.9), 24)
    c.shadow(256, 426, 92)
    c.rect(247, 206, 265, 262, BRASS.base)
    c.poly(
        mirrored(
            [(276, 252), *bezier((280, 268), (330, 290), (352, 350), (300, 412)), (306, 430)],
        ),
        tone.base,
    )
    c.poly(
        bezier((232, 276), (190, 300), (180, 346), (206, 388)) + bezier((206, 388), (200, 346), (210, 306), (246, 280)),
        tone.pale,
    )
    c.rect(204, 412, 308, 432, tone.dark, 8)
    c.rect(228, 244, 284, 262, tone.dark, 7)
    c.poly([(196, 82), (316, 82), (366, 222), (146, 222)], CREAM)
    c.poly([(196, 82), (226, 82), (198, 222), (146, 222)], mix(CREAM, PAPER, 0.7))
    c.poly([(290, 82), (316, 82), (366, 222), (320, 222)], mix(CREAM, WOOD.base, 0.2))
    c.rect(144, 214, 368, 226, mix(CREAM, WOOD.base, 0.45), 5)
    c.rect(194, 76, 318, 86, mix(CREAM, WOOD.base, 0.45), 4)


def pendant_lamp(c: Canvas, tone: Tone) -> None:
    """Draw a dome that hangs from the ceiling and throws a cone of light."""
    c.poly([(140, 300), (372, 300), (452, 512), (60, 512)], mix(c.wall, GLOW, 0.55))
    c.rect(206, 0, 306, 14, tone.dark, 4)
    c.rect(253, 0, 259, 140, tone.dark)
    c.rect(238, 128, 274, 172, BRASS.base, 8)
    c.rect(238, 128, 250, 172, BRASS.pale, 6)
    c.oval(118, 276, 394, 322, GLOW)
    c.dot(256, 304, 26, (255, 252, 232))
    c.half(112, 160, 400, 436, tone.base)
    c.poly(
        bezier((138, 292), (142, 222), (184, 186), (222, 174)) + bezier((222, 174), (186, 206), (168, 244), (166, 292)),
        tone.pale,
    )
    c.rect(108, 288, 404, 302, tone.dark, 7)


def dining_table(c: Canvas, tone: Tone) -> None:
    """Draw a long table with thick legs and a bowl of fruit."""
    c.shadow(256, 416, 200)
    for x in (116, 396):
        leg(c, (x, 270), (x, 392), (20, 15), tone.deep)
    c.rect(76, 262, 436, 296, tone.dark, 2)
    for x in (80, 432):
        leg(c, (x, 262), (x, 424), (32, 20), tone.base)
        leg(c, (x - 8, 262), (x - 5, 424), (10, 6), tone.light)
    slab(c, 42, 470, 244, 66, 20, tone)
    for share in (0.33, 0.67):
        y = 244 - 66 * share
        c.line([(44 + 36 * share, y), (468 - 36 * share, y)], 2, tone.base)
    for x, y, colour in ((236, 176, (208, 68, 58)), (276, 176, (236, 178, 60)), (256, 166, (132, 170, 74))):
        c.dot(x, y, 19, colour)
    c.poly(bezier((204, 182), (212, 226), (300, 226), (308, 182)), LINEN.base)
    c.rect(200, 178, 312, 187, LINEN.dark, 4)


def coffee_table(c: Canvas, tone: Tone) -> None:
    """Draw a low oval table of marble on thin metal legs."""
    c.shadow(256, 400, 178, 18)
    for x, foot in ((190, 186), (322, 326)):
        c.line([(x, 290), (foot, 374)], 8, BRASS.dark)
    for x, foot in ((122, 106), (390, 406)):
        c.line([(x - 10, 300), (foot, 404), (x + 22, 306)], 8, BRASS.base)
    c.oval(58, 218, 454, 338, tone.deep)
    c.oval(58, 212, 454, 330, tone.dark)
    c.oval(58, 202, 454, 318, mix(tone.base, PAPER, 0.6))
    vein = mix(tone.base, INK, 0.22)
    c.line(bezier((118, 224), (180, 262), (210, 226), (284, 306), 24), 3, vein)
    c.line(bezier((196, 248), (246, 214), (280, 252), (330, 210), 24), 2, vein)
    c.line(bezier((300, 238), (342, 266), (372, 240), (426, 276), 24), 3, vein)
    c.line(bezier((96, 276), (136, 270), (158, 292), (196, 300), 24), 2, vein)


def side_table(c: Canvas, tone: Tone) -> None:
    """Draw a round table on one leg."""
    c.shadow(256, 434, 112, 14)
    c.oval(162, 404, 350, 444, tone.deep)
    c.oval(162, 396, 350, 436, tone.base)
    c.poly(mirrored([(268, 190), (266, 360), *bezier((266, 370), (268, 400), (290, 410), (312, 416))]), tone.dark)
    c.poly([(246, 190), (254, 190), (254, 380), (240, 400), (248, 370)], tone.light)
    c.oval(112, 152, 400, 224, tone.deep)
    c.oval(112, 140, 400, 210, tone.base)
    c.oval(124, 144, 388, 200, tone.light)
    c.oval(218, 154, 294, 182, tone.base)
    plant(c, 256, 172, 36, CREAM)


def bookcase(c: Canvas, tone: Tone) -> None:
    """Draw a tall case with four full shelves."""
    c.shadow(256, 444, 134, 10)
    c.rect(138, 52, 374, 442, tone.base, 4)
    c.rect(132, 44, 380, 62, tone.light, 4)
    rows = (
        (58, 66, 52, 70, 60, 64, 48, 62, 68, 54, 60, 66),
        (64, 54, 68, 60, 58),
        (50, 62, 58, 66, 70, 56, 62, 52, 68, 64, 48),
        (68, 60, 64, 56),
    )
    for row, heights in enumerate(rows):
        y = 72 + row * 91
        c.rect(154, y, 358, y + 81, tone.deep)
        c.rect(154, y + 77, 358, y + 91, tone.light)
        end = books(c, 160, y + 77, heights, row * 2)
        if row == 1:
            plant(c, 312, y + 77, 26, (226, 132, 96))
        if row == 3:
            c.poly([(end + 4, y + 77), (end + 30, y + 14), (end + 43, y + 19), (end + 18, y + 77)], BOOKS[2])
            c.rect(300, y + 47, 344, y + 77, BOOKS[3], 4)
    c.rect(138, 428, 374, 442, tone.dark, 3)


def wardrobe(c: Canvas, tone: Tone) -> None:
    """Draw a wardrobe with two panelled doors over a drawer."""
    c.shadow(256, 442, 150, 11)
    for x in (146, 366):
        leg(c, (x, 420), (x, 446), (26, 18), tone.deep)
    c.rect(124, 56, 388, 430, tone.dark, 6)
    c.rect(112, 40, 400, 66, tone.pale, 6)
    c.rect(112, 58, 400, 68, tone.base, 3)
    for x in (132, 258):
        c.rect(x, 78, x + 122, 350, tone.light, 4)
        for y, height in ((92, 96), (202, 134)):
            c.rect(x + 14, y, x + 108, y + height, tone.base, 5)
            c.rect(x + 18, y + 5, x + 108, y + height, tone.pale, 4)
    for x in (244, 268):
        c.rect(x - 4, 196, x + 4, 236, BRASS.base, 4)
    drawer(c, (132, 362, 380, 420), tone, 2)


def bed(c: Canvas, tone: Tone) -> None:
    """Draw a made double bed seen from its foot."""
    c.shadow(256, 418, 208, 14)
    c.rect(74, 96, 438, 330, WOOD.base, 18)
    c.rect(90, 112, 422, 300, WOOD.light, 10)
    for x in (173, 256, 339):
        c.rect(x - 2, 112, x + 2, 300, WOOD.base)
    c.poly([(92, 238), (420, 238), (452, 396), (60, 396)], LINEN.dark)
    for x in (110, 262):
        c.rect(x, 186, x + 140, 254, mix(LINEN.base, INK, 0.08), 24)
        c.rect(x + 3, 184, x + 137, 244, PAPER, 24)
    c.poly([(90, 258), (422, 258), (460, 372), (460, 404), (52, 404), (52, 372)], tone.base)
    c.poly([(90, 256), (422, 256), (433, 290), (79, 290)], tone.pale)
    c.rect(52, 372, 460, 404, tone.dark, 8)
    c.line(bezier((190, 294), (180, 330), (170, 350), (160, 368)), 3, tone.dark)
    c.line(bezier((322, 294), (330, 330), (344, 350), (354, 368)), 3, tone.dark)
    c.rect(44, 392, 468, 422, WOOD.base, 8)
    c.rect(44, 392, 468, 402, WOOD.light, 5)
    for x in (64, 448):
        leg(c, (x, 420), (x, 440), (22, 16), WOOD.dark)


def writing_desk(c: Canvas, tone: Tone) -> None:
    """Draw a desk with three drawers on one side and pencils on top."""
    c.shadow(256, 426, 196, 12)
    leg(c, (98, 262), (98, 412), (15, 11), tone.deep)
    leg(c, (66, 250), (58, 434), (24, 14), tone.base)
    c.rect(60, 250, 452, 282, tone.base, 2)
    c.rect(308, 250, 452, 416, tone.dark, 5)
    for y in (264, 314, 364):
        drawer(c, (318, y, 442, y + 43), tone)
    for x in (322, 438):
        leg(c, (x, 416), (x, 436), (20, 14), tone.deep)
    drawer(c, (96, 256, 296, 280), tone)
    slab(c, 38, 474, 238, 48, 17, tone)
    for x, top, colour in ((138, 116, BOOKS[0]), (150, 102, BOOKS[1]), (162, 112, BOOKS[2])):
        c.line([(150 + (x - 150) * 0.4, 200), (x, top)], 6, colour)
    c.rect(130, 152, 170, 208, METAL.base, 5)
    c.rect(130, 152, 142, 208, METAL.light, 5)
    c.poly([(250, 206), (372, 206), (386, 226), (236, 226)], PAPER)
    c.poly([(311, 206), (372, 206), (386, 226), (311, 226)], mix(PAPER, INK, 0.08))
    c.line([(326, 222), (368, 198)], 4, BOOKS[4])


def bedside_table(c: Canvas, tone: Tone) -> None:
    """Draw a small cabinet with a drawer, a shelf and an alarm clock."""
    c.shadow(256, 434, 122, 12)
    for x, lean in ((170, -8), (342, 8)):
        leg(c, (x, 390), (x + lean, 440), (20, 11), tone.deep)
    c.rect(150, 212, 362, 396, tone.base, 5)
    drawer(c, (164, 230, 348, 290), tone)
    c.rect(164, 304, 348, 384, tone.deep, 3)
    c.rect(184, 366, 300, 384, BOOKS[0], 3)
    c.rect(194, 350, 290, 366, BOOKS[3], 3)
    slab(c, 136, 376, 206, 34, 14, tone)
    for x in (226, 286):
        c.dot(x, 116, 15, BOOKS[0])
        leg(c, (256 + (x - 256) * 0.6, 170), (256 + (x - 256) * 0.9, 194), (9, 7), INK)
    c.dot(256, 148, 42, BOOKS[0])
    c.dot(256, 148, 33, PAPER)
    c.line([(256, 148), (256, 126)], 5, INK)
    c.line([(256, 148), (272, 156)], 5, INK)


def bar_stool(c: Canvas, tone: Tone) -> None:
    """Draw a high stool with a ring for the feet."""
    c.shadow(256, 438, 112, 12)
    for x, foot in ((226, 204), (286, 308)):
        c.line([(x, 150), (foot, 414)], 10, tone.deep)
    c.ring(180, 314, 332, 350, 8, METAL.base)
    for x, foot in ((198, 152), (314, 360)):
        c.line([(x, 150), (foot, 438)], 13, tone.base)
        c.line([(x - 2, 156), (foot - 2, 434)], 4, tone.light)
    c.oval(160, 98, 352, 172, tone.deep)
    c.rect(160, 118, 352, 136, tone.dark)
    c.oval(160, 82, 352, 156, tone.base)
    c.oval(178, 88, 334, 142, tone.light)


def bench(c: Canvas, tone: Tone) -> None:
    """Draw a garden bench with a slatted back."""
    c.shadow(256, 412, 206, 12)
    for x in (98, 414):
        leg(c, (x, 290), (x, 396), (16, 13), tone.deep)
    for number in range(13):
        left = 85 + number * 27.3
        c.rect(left, 152, left + 14, 282, tone.base, 3)
    c.poly(
        [
            *bezier((66, 150), (180, 116), (332, 116), (446, 150)),
            (446, 176),
            *bezier((446, 176), (332, 146), (180, 146), (66, 176)),
        ],
        tone.light,
    )
    c.rect(70, 254, 442, 270, tone.dark, 3)
    for x in (74, 438):
        c.rect(x - 8, 148, x + 8, 300, tone.dark, 4)
    for number in range(3):
        y = 284 + number * 14
        spread = number * 9
        c.poly([(70 - spread, y), (442 + spread, y), (447 + spread, y + 11), (65 - spread, y + 11)], tone.light)
    c.rect(46, 324, 466, 340, tone.dark, 4)
    for x in (56, 456):
        leg(c, (x, 236), (x, 420), (19, 16), tone.base)
    for x, end in ((74, 48), (438, 464)):
        c.line([(x, 222), (end, 234)], 17, tone.light)
    c.rect(64, 366, 448, 377, tone.dark, 3)


def rocking_chair(c: Canvas, tone: Tone) -> None:
    """Draw a rocking chair from the side."""
    c.shadow(254, 438, 150, 10)
    far = tone.deep
    back = bezier((112, 76), (128, 160), (152, 220), (184, 306))
    behind = [(x + 42, y - 14) for x, y in back]
    c.line(bezier((122, 384), (200, 440), (342, 436), (434, 362)), 11, far)
    c.line([(206, 290), (198, 412)], 11, far)
    c.line([(356, 280), (372, 396)], 11, far)
    c.line([(372, 208), (372, 284)], 9, far)
    c.line(bezier((184, 206), (240, 196), (330, 196), (404, 206)), 12, far)
    c.line(behind, 13, far)
    for step in (1, 6, 11, 16):
        c.poly([back[step], behind[step], behind[step + 3], back[step + 3]], tone.base)
    c.poly([(172, 290), (212, 268), (392, 262), (384, 290)], tone.light)
    c.poly([(170, 290), (386, 290), (382, 310), (176, 312)], tone.dark)
    c.line(bezier((84, 398), (170, 462), (330, 458), (436, 378)), 15, tone.base)
    c.line([(186, 308), (172, 428)], 14, tone.base)
    c.line([(360, 304), (374, 414)], 14, tone.base)
    c.line([(180, 366), (365, 356)], 9, tone.dark)
    c.line(back, 16, tone.base)
    c.line([(x - 2, y) for x, y in back[1:-1]], 4, tone.light)
    c.line([(352, 222), (362, 296)], 11, tone.base)
    c.line(bezier((150, 226), (220, 212), (320, 214), (390, 224)), 15, tone.light)


def chest_of_drawers(c: Canvas, tone: Tone) -> None:
    """Draw a chest with two small drawers over three wide ones."""
    c.shadow(256, 432, 168, 12)
    for x, lean in ((122, -6), (390, 6)):
        leg(c, (x, 400), (x + lean, 440), (24, 13), WOOD.dark)
    c.rect(96, 140, 416, 408, tone.dark, 6)
    drawer(c, (108, 156, 251, 208), tone)
    drawer(c, (261, 156, 404, 208), tone)
    for y in (218, 280, 342):
        drawer(c, (108, y, 404, y + 53), tone, 2)
    slab(c, 82, 430, 132, 34, 14, tone)


def mirror(c: Canvas, tone: Tone) -> None:
    """Draw a tall arched mirror on a stand."""
    c.shadow(256, 434, 132, 11)
    for x, foot in ((152, 128), (360, 384)):
        c.line([(foot, 434), (x, 404), (x + (x - foot), 434)], 11, tone.dark)
        c.line([(x, 210), (x, 408)], 11, tone.dark)
    c.line([(152, 396), (360, 396)], 9, tone.dark)
    c.half(164, 36, 348, 220, tone.base)
    c.rect(164, 126, 348, 340, tone.base)
    c.rect(164, 300, 348, 384, tone.base, 8)
    glass: Colour = (206, 226, 236)
    c.half(180, 52, 332, 204, glass)
    c.rect(180, 126, 332, 368, glass)
    bright = mix(glass, PAPER, 0.7)
    c.poly([(180, 236), (318, 98), (328, 122), (332, 142), (180, 294)], bright)
    c.poly([(180, 318), (332, 166), (332, 186), (180, 338)], bright)
    for x in (152, 360):
        c.dot(x, 214, 11, BRASS.base)


def wall_clock(c: Canvas, tone: Tone) -> None:
    """Draw a round clock that shows ten past ten."""
    c.blur([(106, 112, 422, 428)], mix(c.wall, INK, 0.3), 10)
    c.dot(256, 250, 164, tone.dark)
    c.dot(256, 246, 162, tone.base)
    c.dot(256, 246, 136, tone.dark)
    c.dot(256, 248, 132, PAPER)
    for hour in range(12):
        angle = math.radians(hour * 30)
        inner, width = (98, 9) if hour % 3 == 0 else (108, 5)
        x, y = math.sin(angle), -math.cos(angle)
        c.line([(256 + x * inner, 248 + y * inner), (256 + x * 118, 248 + y * 118)], width, INK)
    for degrees, length, width in ((305, 66, 12), (60, 98, 8)):
        angle = math.radians(degrees)
        c.line([(256, 248), (256 + math.sin(angle) * length, 248 - math.cos(angle) * length)], width, INK)
    c.line([(256, 276), (256, 150)], 3, (208, 56, 54))
    c.dot(256, 248, 10, (208, 56, 54))


def coat_stand(c: Canvas, tone: Tone) -> None:
    """Draw a stand with curled hooks, a hat and a scarf."""
    c.shadow(256, 438, 108, 11)
    for foot, y in ((168, 436), (344, 436), (256, 446)):
        c.line(
            bezier((256, 372), (256, 404), ((foot + 256) / 2, 408), (foot, y)), 12, tone.dark if y == 446 else tone.base
        )
    c.line([(256, 70), (256, 404)], 13, tone.base)
    c.line([(253, 74), (253, 400)], 3, tone.pale)
    c.dot(256, 58, 14, tone.base)
    scarf: Colour = (206, 88, 76)
    c.poly([(332, 128), (362, 128), (372, 290), (338, 290)], scarf)
    c.poly([(318, 132), (342, 126), (344, 262), (312, 262)], mix(scarf, INK, 0.2))
    for y in (170, 206, 242):
        c.poly([(341, y + 18), (366, y + 18), (367, y + 28), (341, y + 28)], CREAM)
    for side in (-1, 1):
        c.line(
            bezier((256, 168), (256 + side * 40, 168), (256 + side * 96, 172), (256 + side * 88, 118)), 10, tone.base
        )
        c.line(bezier((256, 108), (256 + side * 24, 110), (256 + side * 56, 104), (256 + side * 52, 72)), 10, tone.base)
        c.dot(256 + side * 88, 116, 9, tone.base)
        c.dot(256 + side * 52, 70, 9, tone.base)
    hat = WOOD.light
    c.poly(bezier((138, 118), (134, 62), (198, 60), (202, 112)), hat)
    c.poly([(137, 102), (200, 96), (203, 112), (138, 118)], INK)
    c.poly(
        bezier((112, 128), (140, 98), (204, 92), (228, 114)) + bezier((228, 114), (200, 122), (146, 132), (112, 128)),
        mix(hat, INK, 0.12),
    )


def sideboard(c: Canvas, tone: Tone) -> None:
    """Draw a long low cabinet with slatted doors and a vase."""
    c.shadow(256, 412, 210, 12)
    for x, lean in ((84, -8), (428, 8)):
        leg(c, (x, 372), (x + lean, 420), (20, 11), BRASS.dark)
    c.rect(44, 238, 468, 382, tone.base, 6)
    for x in (58, 332):
        c.rect(x, 254, x + 122, 368, tone.dark, 4)
        for number in range(10):
            c.rect(x + 4 + number * 11.6, 258, x + 12 + number * 11.6, 364, tone.light, 2)
    for y in (254, 294, 334):
        drawer(c, (192, y, 320, y + 34), tone)
    slab(c, 34, 478, 230, 34, 12, tone)
    for x, y in ((112, 86), (134, 64), (160, 82), (178, 106), (98, 118)):
        c.line(bezier((140, 160), (140, 130), (x, 120), (x, y)), 3, LEAF)
        c.oval(x - 8, y - 14, x + 8, y + 12, mix(LEAF, PAPER, 0.15))
    c.poly(mirrored([(154, 152), *bezier((152, 166), (176, 180), (170, 208), (156, 214))], 140), BOOKS[2])
    c.rect(250, 202, 330, 214, BOOKS[0], 3)
    c.rect(258, 190, 322, 202, BOOKS[3], 3)


def office_chair(c: Canvas, tone: Tone) -> None:
    """Draw a swivel chair with a mesh back on five castors."""
    c.shadow(256, 440, 124, 11)
    c.rect(246, 316, 266, 400, METAL.light, 3)
    c.rect(240, 316, 272, 346, INK, 4)
    for x, y in ((148, 420), (364, 420), (200, 434), (312, 434), (256, 438)):
        c.line([(256, 388), (x, y - 12)], 11, METAL.deep)
        c.dot(x, y, 11, INK)
        c.dot(x, y, 4, METAL.light)
    c.rect(246, 220, 266, 300, INK)
    c.poly(
        mirrored(
            bezier((256, 56), (318, 56), (346, 66), (342, 110)) + bezier((342, 110), (338, 180), (340, 244), (256, 244))
        ),
        tone.dark,
    )
    mesh = mirrored(
        bezier((256, 72), (306, 72), (330, 78), (326, 112)) + bezier((326, 112), (322, 176), (324, 228), (256, 228))
    )
    c.poly(mesh, tone.base)
    for y in range(88, 224, 14):
        c.line([(190 if y < 180 else 204, y), (322 if y < 180 else 308, y)], 3, tone.light)
    for side in (-1, 1):
        x = 256 + side * 122
        c.line([(256 + side * 84, 306), (x, 296), (x, 230)], 11, INK)
        c.rect(x - 17, 214, x + 17, 234, INK, 9)
    c.rect(152, 268, 360, 322, tone.dark, 26)
    c.rect(152, 260, 360, 306, tone.light, 23)


def pouffe(c: Canvas, tone: Tone) -> None:
    """Draw a round knitted seat."""
    c.shadow(256, 408, 172, 16)
    c.poly(
        mirrored(
            bezier((256, 188), (400, 186), (440, 250), (432, 310))
            + bezier((432, 310), (426, 392), (360, 416), (256, 416))
        ),
        tone.base,
    )
    for number in range(-4, 5):
        x = number / 4.6
        c.line(
            bezier((256 + x * 130, 238), (256 + x * 196, 280), (256 + x * 190, 352), (256 + x * 118, 410 - x * x * 14)),
            4,
            tone.dark,
        )
    for row in range(4):
        y = 276 + row * 32
        for number in range(-4, 5):
            x = 256 + number * 40
            if abs(x - 256) < 168 - row * row * 2.5:
                c.line([(x - 10, y - 8), (x, y + 2), (x + 10, y - 8)], 5, tone.light)
    c.oval(102, 176, 410, 268, tone.dark)
    c.oval(102, 170, 410, 260, tone.light)
    for inset in (26, 58, 92):
        c.ring(102 + inset, 170 + inset * 0.29, 410 - inset, 260 - inset * 0.29, 4, tone.base)
    c.oval(238, 207, 274, 221, tone.dark)


def deck_chair(c: Canvas, tone: Tone) -> None:
    """Draw a folding beach chair with a striped sling."""
    c.shadow(262, 424, 176, 13)
    shift_x, shift_y = 104, 26
    left = bezier((92, 96), (118, 236), (166, 344), (318, 276), 40)
    c.line([(88, 88), (344, 402)], 11, WOOD.deep)
    c.line([(322, 272), (84, 398)], 11, WOOD.deep)
    c.line([(84, 398), (84 + shift_x, 398 + shift_y)], 10, WOOD.deep)
    c.line([(344, 402), (344 + shift_x, 402 + shift_y)], 10, WOOD.dark)
    c.line([(92, 96), (92 + shift_x, 96 + shift_y)], 14, WOOD.light)
    stripes = 7
    for number in range(stripes):
        a, b = (0.06 + 0.88 * (number + end) / stripes for end in (0, 1))
        near = [(x + shift_x * a, y + shift_y * a) for x, y in left]
        far = [(x + shift_x * b, y + shift_y * b) for x, y in left]
        c.poly(near + far[::-1], tone.base if number % 2 == 0 else PAPER)
        c.poly(near[22:31] + far[22:31][::-1], tone.dark if number % 2 == 0 else mix(PAPER, INK, 0.1))
    c.line([(318, 276), (318 + shift_x, 276 + shift_y)], 13, WOOD.light)
    c.line([(88 + shift_x, 88 + shift_y), (344 + shift_x, 402 + shift_y)], 14, WOOD.base)
    c.line([(322 + shift_x, 272 + shift_y), (84 + shift_x, 398 + shift_y)], 14, WOOD.base)
    c.dot(263 + shift_x, 303 + shift_y, 5, WOOD.deep)


def bean_bag(c: Canvas, tone: Tone) -> None:
    """Draw a slumped bean bag with a handle and its seams."""
    c.shadow(256, 416, 190, 16)
    c.line(bezier((238, 122), (232, 72), (294, 72), (286, 122)), 11, tone.deep)
    back = bezier((262, 108), (196, 104), (142, 178), (100, 262))
    hem = bezier((100, 262), (40, 350), (50, 426), (170, 426)) + bezier((170, 426), (250, 430), (330, 430), (376, 424))
    side = bezier((376, 424), (464, 416), (466, 350), (420, 286)) + bezier(
        (420, 286), (388, 210), (338, 110), (262, 108)
    )
    c.poly(back + hem + side, tone.base)
    c.poly(side[:33] + bezier((420, 286), (424, 350), (376, 400), (240, 427)), tone.dark)
    c.poly(
        bezier((262, 108), (196, 104), (142, 178), (100, 262)) + bezier((100, 262), (150, 250), (200, 190), (262, 108)),
        tone.light,
    )
    c.poly(
        bezier((122, 310), (180, 226), (332, 226), (392, 310)) + bezier((392, 310), (332, 372), (180, 372), (122, 310)),
        tone.light,
    )
    c.line(bezier((120, 308), (180, 372), (332, 372), (394, 308)), 4, tone.dark)
    c.line(bezier((262, 112), (214, 160), (190, 210), (184, 262)), 4, tone.dark)
    c.line(bezier((262, 112), (312, 150), (334, 206), (338, 264)), 4, tone.dark)
    c.line(bezier((170, 352), (160, 380), (162, 402), (174, 424)), 4, tone.dark)
    c.line(bezier((342, 352), (360, 378), (360, 402), (348, 424)), 4, tone.deep)
    c.oval(242, 98, 282, 120, tone.dark)


def ladder_shelf(c: Canvas, tone: Tone) -> None:
    """Draw a leaning shelf that widens towards the floor."""
    c.shadow(256, 440, 150, 10)
    for side in (-1, 1):
        c.line([(256 + side * 78, 52), (256 + side * 132, 438)], 14, tone.base)
        c.line([(256 + side * 78 - 3, 54), (256 + side * 132 - 3, 434)], 4, tone.light)
    levels = ((122, 20), (206, 26), (296, 34), (392, 42))
    for y, depth in levels:
        half = 78 + (y - 52) * 54 / 386 + 12
        slab(c, 256 - half, 256 + half, y, depth, 12, tone)
    plant(c, 290, 116, 26, (226, 132, 96))
    books(c, 196, 116, (40, 46, 36))
    c.rect(196, 160, 244, 194, BOOKS[2], 5)
    c.rect(196, 160, 210, 194, mix(BOOKS[2], PAPER, 0.3), 5)
    books(c, 264, 196, (42, 38, 46, 40), 4)
    plant(c, 214, 284, 32, BOOKS[4])
    c.rect(266, 266, 340, 282, BOOKS[0], 3)
    c.rect(274, 252, 334, 266, BOOKS[1], 3)
    c.poly([(180, 338), (332, 338), (320, 382), (192, 382)], WOOD.base)
    for x in range(188, 330, 18):
        c.line([(x + 4, 346), (256 + (x + 4 - 256) * 0.86, 378)], 3, WOOD.dark)
    c.rect(174, 328, 338, 342, WOOD.light, 6)


def folding_screen(c: Canvas, tone: Tone) -> None:
    """Draw a paper screen of three panels standing in a zigzag."""
    c.shadow(256, 432, 190, 12)
    panels = ((58, 84, 190, 62), (190, 62, 322, 84), (322, 84, 454, 62))
    for number, (x0, top0, x1, top1) in enumerate(panels):
        drop0, drop1 = (10, -12) if number != 1 else (-12, 10)
        low0, low1 = 424 + drop0, 424 + drop1
        paper = mix(CREAM, PAPER, 0.5) if number != 1 else mix(CREAM, INK, 0.07)
        frame = tone.base if number != 1 else tone.dark
        c.poly([(x0, top0), (x1, top1), (x1, low1), (x0, low0)], paper)
        for share in (0.0, 1 / 3, 2 / 3, 1.0):
            width = 11 if share in {0.0, 1.0} else 5
            x = x0 + 5 + (x1 - x0 - 10) * share
            c.line([(x, top0 + (top1 - top0) * share + 4), (x, low0 + (low1 - low0) * share)], width, frame)
        for share in (0.0, 0.19, 0.38, 0.57, 0.76, 1.0):
            y0 = top0 + 5 + (low0 - top0 - 16) * share
            y1 = top1 + 5 + (low1 - top1 - 16) * share
            c.line([(x0 + 5, y0), (x1 - 5, y1)], 11 if share in {0.0, 1.0} else 5, frame)


def bunk_bed(c: Canvas, tone: Tone) -> None:
    """Draw two beds on top of each other with a ladder."""
    c.shadow(256, 438, 206, 11)
    for top, cover in ((206, BOOKS[1]), (364, BOOKS[0])):
        c.rect(64, top - 44, 448, top + 8, LINEN.dark, 8)
        c.rect(64, top - 50, 448, top - 6, LINEN.base, 12)
        c.rect(76, top - 76, 150, top - 38, PAPER, 15)
        c.rect(160, top - 58, 448, top + 2, cover, 12)
        c.rect(160, top - 58, 190, top + 2, mix(cover, PAPER, 0.5), 10)
        c.rect(58, top, 454, top + 28, tone.base, 4)
        c.rect(58, top, 454, top + 9, tone.light, 4)
    for y in (112, 136):
        c.rect(58, y, 330, y + 11, tone.light, 4)
    for x in (56, 456):
        c.rect(x - 12, 72, x + 12, 440, tone.dark, 7)
        c.rect(x - 12, 72, x - 3, 440, tone.base, 5)
    for x in (340, 410):
        c.rect(x - 7, 92, x + 7, 440, tone.dark, 5)
    for y in range(132, 430, 46):
        c.rect(340, y, 410, y + 11, tone.pale, 4)


def rug(c: Canvas, tone: Tone) -> None:
    """Draw a fringed rug with diamonds, lying on the floor."""

    def floor(u: float, v: float) -> Point:
        """Map the rug's own square to where it lies in the picture."""
        depth = v / (1.55 - 0.55 * v)
        half = 142 + 68 * depth
        return 256 + (u * 2 - 1) * half, 168 + 222 * depth

    def patch(u0: float, v0: float, u1: float, v1: float, fill: Colour) -> None:
        """Fill a rectangle of the rug."""
        c.poly([floor(u0, v0), floor(u1, v0), floor(u1, v1), floor(u0, v1)], fill)

    c.blur([(36, 350, 476, 408)], mix(c.wall, INK, 0.25), 8)
    for number in range(25):
        v = (number + 0.5) / 25
        for edge, end in ((0.0, -0.055), (1.0, 1.055)):
            c.line([floor(edge, v), floor(end, v)], 4, CREAM)
    patch(0, 0, 1, 1, tone.dark)
    patch(0.03, 0.04, 0.97, 0.96, tone.base)
    patch(0.09, 0.11, 0.91, 0.89, CREAM)
    patch(0.12, 0.145, 0.88, 0.855, tone.base)
    for number in range(3):
        u = 0.5 + (number - 1) * 0.25
        for width, height, fill in ((0.125, 0.32, CREAM), (0.095, 0.24, tone.deep), (0.05, 0.125, BOOKS[1])):
            c.poly([floor(u, 0.5 - height), floor(u + width, 0.5), floor(u, 0.5 + height), floor(u - width, 0.5)], fill)
    for number in range(14):
        u = 0.06 + number * 0.88 / 13
        for v in (0.075, 0.925):
            c.poly([floor(u, v - 0.025), floor(u + 0.018, v), floor(u, v + 0.025), floor(u - 0.018, v)], CREAM)


KINDS: dict[str, Callable[[Canvas, Tone], None]] = {
    "armchair": armchair,
    "bar stool": bar_stool,
    "bean bag": bean_bag,
    "bedside table": bedside_table,
    "bookcase": bookcase,
    "bunk bed": bunk_bed,
    "chest of drawers": chest_of_drawers,
    "coat stand": coat_stand,
    "coffee table": coffee_table,
    "deck chair": deck_chair,
    "dining chair": dining_chair,
    "dining table": dining_table,
    "double bed": bed,
    "floor lamp": floor_lamp,
    "folding screen": folding_screen,
    "garden bench": bench,
    "ladder shelf": ladder_shelf,
    "mirror": mirror,
    "office chair": office_chair,
    "pendant lamp": pendant_lamp,
    "pouffe": pouffe,
    "rocking chair": rocking_chair,
    "rug": rug,
    "side table": side_table,
    "sideboard": sideboard,
    "sofa": sofa,
    "table lamp": table_lamp,
    "wall clock": wall_clock,
    "wardrobe": wardrobe,
    "writing desk": writing_desk,
}


def kind_of(title: str) -> str:
    """Return the kind of furniture that a title ends with."""
    fitting = [kind for kind in KINDS if title.lower().endswith(kind)]
    if not fitting:
        raise ValueError(f"no drawing for {title!r}: its last words must be one of {', '.join(KINDS)}")
    return max(fitting, key=len)


def main() -> None:
    """Draw every item of the table into its image file."""
    with (ROOT / "data" / "furniture.csv").open(encoding="utf-8", newline="") as table:
        items = list(csv.DictReader(table))
    for item in items:
        colour = COLOURS[item["colour"]]
        canvas = Canvas(colour)
        KINDS[kind_of(item["title"])](canvas, Tone(colour))
        size = canvas.save(ROOT / item["image"])
        if size > MAX_BYTES:
            raise ValueError(f"{item['image']} has {size} bytes, more than {MAX_BYTES}")
    print(f"{len(items)} images drawn")


if __name__ == "__main__":
    main()
