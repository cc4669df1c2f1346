"""Made-up streams as a repository would give them: working days with many commits, free days with few."""

from dataclasses import replace
from datetime import date

import numpy as np

from quality.detector.panel import FloatArray, Harm, Measure, Nature, Stream

MONDAY = date(2026, 1, 5)
MEASURES = (
    Measure("rows", Nature.COUNT, volume=True),
    Measure("authors", Nature.COUNT, "rows"),
    Measure("null", Nature.RATIO, "rows", harm=Harm.RISE),
    Measure("hours", Nature.DURATION, "rows"),
    Measure("change", Nature.NUMBER),
)


def made(name: str = "api", days: int = 120, seed: int = 0, source: str = "") -> Stream:
    """`days` windows from a Monday on: 60 rows on working days, 12 on free ones."""
    chance = np.random.default_rng([seed, len(name), *name.encode()])
    usual = np.where(np.arange(days) % 7 < 5, 60.0, 12.0)
    rows = 1.0 + chance.negative_binomial(20, 20 / (20 + usual))
    authors = np.minimum(rows, 1 + chance.poisson(rows**0.6))
    null = chance.binomial(rows.astype(int), 0.05) / rows
    hours = np.exp(chance.normal(3, 0.3, days))
    values = np.column_stack([rows, authors, null, hours, chance.normal(-5, 1, days)])
    return Stream(name, MONDAY, MEASURES, values, source=source)


def with_value(stream: Stream, row: int | slice, measure: str, value: float) -> Stream:
    """`stream` with that in place of what was there."""
    values = stream.values.copy()
    values[row, column(stream, measure)] = value
    return replace(stream, values=values)


def column(stream: Stream, measure: str) -> int:
    """Position of a measure."""
    return [one.name for one in stream.measures].index(measure)


def only(nature: Nature, values: list[float] | FloatArray, *, volume: bool = False) -> Stream:
    """A stream of one measure."""
    return Stream("one", MONDAY, (Measure("x", nature, volume=volume),), np.array(values, float).reshape(-1, 1))
