"""How functions are coloured in pictures: the widget's rules, for those made in Python.

`js/src/profile/colors.ts` are the same rules for the widget; `tests/examples` holds both to the
same answers. Must not know any format, nor what a picture is drawn with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .._profile.names import place

Rgb = tuple[int, int, int]


def duration(ns: float) -> str:
    """Nanoseconds as the widget writes them: ``850 ns``, ``12.5 µs``, ``340 ms``, ``1.2 s``."""
    if ns < 999.5:
        return f"{_significant(ns)} ns" if ns else "0 s"
    if ns < 999.5e3:
        return f"{_significant(ns / 1e3)} µs"
    if ns < 999.5e6:
        return f"{_significant(ns / 1e6)} ms"
    if ns < 99.95e9:
        return f"{_significant(ns / 1e9)} s"
    seconds = math.floor(ns / 1e9 + 0.5)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = math.floor(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def change(ns: float) -> str:
    """How much more or less than before: ``+1.2 s``, ``−340 ms``."""
    return f"+{duration(ns)}" if ns > 0 else f"\u2212{duration(-ns)}" if ns < 0 else duration(0)


def _significant(value: float) -> str:
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


# --- colours --------------------------------------------------------------------------------------


def oklch(lightness: float, chroma: float, hue: float) -> Rgb:
    """OKLCH (hue in degrees) to sRGB, its chroma lowered until it fits the gamut."""
    while True:
        channels = _unclipped(lightness, max(0.0, chroma), hue)
        if chroma <= 0 or all(-0.0005 < channel < 1.0005 for channel in channels):
            red, green, blue = (
                math.floor(min(1.0, max(0.0, channel)) * 255 + 0.5) for channel in channels
            )
            return red, green, blue
        chroma -= 0.005


# The matrices are those of the CSS Color 4 specification.
def _unclipped(lightness: float, chroma: float, hue: float) -> list[float]:
    angle = hue * math.pi / 180
    a, b = chroma * math.cos(angle), chroma * math.sin(angle)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short,
    )
    return [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear]


@dataclass(frozen=True)
class Scheme:
    """What has one colour everywhere, on a light or a dark page."""

    page: Rgb
    text: Rgb
    dim_text: Rgb
    rest: Rgb  # runs of frames too narrow to be drawn one by one
    root: Rgb


LIGHT = Scheme((255, 255, 255), (24, 26, 31), (58, 62, 72), (216, 218, 223), (229, 231, 235))
DARK = Scheme((23, 24, 28), (244, 245, 247), (214, 217, 224), (62, 65, 72), (50, 53, 60))

_HUES, _SHADES, _STEPS = 18, 3, 12
_MASK = 0xFFFFFFFF

Tone = tuple[Rgb, Rgb]
"""A colour on a light page, and on a dark one."""


def fraction(text: str) -> float:
    """A number 0 to 1 that depends on nothing but the text."""
    value = 0x811C9DC5
    for character in map(ord, text):
        # In JavaScript's units of 16 bits; no codec, which a program may have no way to any more.
        if character >= 0x10000:
            character -= 0x10000
            value = ((value ^ (0xD800 | character >> 10)) * 0x01000193) & _MASK
            character = 0xDC00 | (character & 0x3FF)
        value = ((value ^ character) * 0x01000193) & _MASK
    value ^= value >> 15
    value = (value * 0x2C1B3C6D) & _MASK
    value ^= value >> 12
    return value / 4294967296


def _both(hue: float, chroma: float, shade: int) -> Tone:
    return (
        oklch(0.88 - shade * 0.04, chroma, hue),
        oklch(0.39 + shade * 0.03, chroma * 0.95, hue),
    )


class ModuleColors:
    """A tone for each function, by its module.

    Your own code is amber, packages have a hue of their own, the standard library and bare
    libraries stay grey. Packages get the hue that their name asks for; where two want the same or
    one beside it, the later one takes the next that is free.

    Parameters
    ----------
    files : iterable of (str, bool)
        File of each function of the profile, in the order of the table, and whether it is native.
    """

    def __init__(self, files: Iterable[tuple[str, bool]]) -> None:
        self._hues: dict[str, int] = {}
        self._tones: dict[tuple[float, float, int], Tone] = {}
        taken: set[int] = set()
        for path, native in dict.fromkeys(files):
            where = place(path, native)
            if where.origin != "package" or where.group in self._hues:
                continue
            wanted = math.floor(fraction(where.group) * _HUES)
            # Steps of 5 are far apart in hue and visit all 18.
            steps = [(wanted + 5 * tries) % _HUES for tries in range(_HUES)]
            near = {(step + by) % _HUES for step in taken for by in (-1, 0, 1)}
            free = [s for s in steps if s not in near] or [s for s in steps if s not in taken]
            step = free[0] if free else wanted
            taken.add(step)
            self._hues[where.group] = step

    def tone(self, name: str, path: str, native: bool) -> Tone:
        """The colours of a function."""
        where = place(path, native)
        if where.origin == "cell":
            hue, chroma = 70.0, 0.11
        elif where.origin == "file":
            hue, chroma = 88.0, 0.09
        elif where.origin == "package":
            # From green round to red, leaving out what stands for your own code.
            hue, chroma = (125 + (self._hues.get(where.group, 0) / _HUES) * 275) % 360, 0.075
        elif where.origin == "stdlib":
            hue, chroma = 250.0, 0.018
        else:
            hue, chroma = 40.0, 0.014
        key = hue, chroma, math.floor(fraction(name) * _SHADES)
        if key not in self._tones:
            self._tones[key] = _both(*key)
        return self._tones[key]


@lru_cache(maxsize=64)
def _step(warm: bool, step: int) -> Tone:
    strength, hue = step / _STEPS, 40 if warm else 250
    chroma = 0.006 + 0.13 * strength
    return oklch(0.92 - 0.17 * strength, chroma, hue), oklch(0.34 + 0.12 * strength, chroma, hue)


def change_tone(before: float, after: float) -> Tone:
    """Warm where there is more than before, cold where there is less, grey where it is the same."""
    larger = max(before, after)
    moved = (after - before) / larger if larger > 0 else 0.0
    return _step(moved >= 0, math.floor(abs(moved) * _STEPS + 0.5))
