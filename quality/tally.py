"""The measures of rows that are held in memory, because nobody may see them yet. Pure.

The names and definitions are those of `quality.measures`, which measures what lies in MongoDB.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from quality.gate import MISSING, Row, at_path
from quality.suites import Suite


def tally(suite: Suite, rows: Sequence[Row], key: str) -> dict[str, float | int | None]:
    """The measures of `rows`: what `suite` names, and how many rows and different values of `key` there are."""
    measures: dict[str, float | int | None] = {"rows": len(rows)}
    if not rows:
        return measures
    distinct = len({_category(at_path(row, key)) for row in rows})
    measures |= {"distinct.key": distinct, "duplicate_ratio": 1 - distinct / len(rows)}
    for path in suite.fields:
        nulls = sum(1 for row in rows if _category(at_path(row, path)) is None)
        measures[f"null_ratio.{path}"] = nulls / len(rows)
    for path in suite.numeric:
        values = [value for row in rows if _is_number(value := at_path(row, path))]
        if values:
            measures[f"min.{path}"], measures[f"max.{path}"] = min(values), max(values)
            mean = sum(value / len(values) for value in values)
            if math.isfinite(mean):
                measures[f"mean.{path}"] = mean
    for path in suite.categorical:
        counted = Counter(value for row in rows if (value := _category(at_path(row, path))) is not None)
        if counted:
            measures[f"distinct.{path}"] = len(counted)
            measures[f"top_share.{path}"] = max(counted.values()) / counted.total()
    return measures


def _category(value: Any) -> Any:
    """`value` as something that is equal where MongoDB finds it equal: 1 and 1.0 are, null and nothing are."""
    if value is None or value is MISSING:
        return None
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
