"""A series in one line of a terminal."""

import math
from collections.abc import Collection, Sequence
from typing import Final

from rich.text import Text

BARS: Final = "▁▂▃▄▅▆▇█"
NOTHING: Final = "·"
"""Where there is no number."""


def sparkline(values: Sequence[float | None], marked: Collection[int] = ()) -> Text:
    """One character a value, from the least to the greatest (from 0 where none is below); `marked` ones red."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    low = min(low, 0.0)
    line = Text()
    for place, value in enumerate(values):
        if value is None or not math.isfinite(value):
            line.append(NOTHING, "red" if place in marked else "dim")
            continue
        height = round((value - low) / (high - low) * (len(BARS) - 1)) if high > low else 0
        line.append(BARS[height], "bold red" if place in marked else "cyan")
    return line


__all__ = ["sparkline"]
