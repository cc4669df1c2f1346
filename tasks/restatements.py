"""`touchstone history`: what was known of a number on which date, and why it changed."""

import json
from datetime import date
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import schema
from config.settings import ConfigError
from quality import observations
from quality.observations import Series, Statement
from tasks.context import Context

Days = tuple[date | None, date | None]
"""First and last, both included; None leaves that end open."""

SHOWN: Final = 60


def told(series: str, days: Days) -> list[dict[str, Any]]:
    """Per window what was stated of it, oldest first. Raises ConfigError if there is no such series, MongoError."""
    return [
        {
            "day": at.date().isoformat(),
            "statements": [
                {"known_from": one.recorded_at, "value": one.value, "cause": str(one.cause), "run_id": one.run_id}
                for one in statements
            ],
        }
        for at, statements in _found(series, days)[1]
    ]


def as_json(series: str, days: Days) -> str:
    """For programs."""
    return json.dumps(told(series, days), indent=1, default=str)


def show(series: str, days: Days, console: Console) -> None:
    """For people: one line per statement; the last of a window is what is known now.

    Without days the windows that were restated; the newest ones if none was.
    """
    name, found = _found(series, days)
    changed = sum(len(statements) > 1 for _, statements in found)
    console.print(Text(f"{name}: {len(found):,} windows, {changed:,} of them restated", "bold"))
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading, justify in (("day", "left"), ("known from (UTC)", "left"), ("value", "right"), ("because of", "left"),
                             ("run", "left")):  # fmt: skip
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    restated = [(at, statements) for at, statements in found if len(statements) > 1]
    shown = found if any(days) else (restated or found)[-SHOWN:]
    for at, statements in shown:
        for number, one in enumerate(statements):
            style = "" if one is statements[-1] else "dim strike" if one.value is not None else "dim"
            table.add_row(f"{at:%Y-%m-%d}" if number == 0 else "", f"{one.recorded_at:%Y-%m-%d %H:%M:%S}",
                          Text(_number(one.value), style), str(one.cause), Text(one.run_id, "dim"))  # fmt: skip
    console.print(table)
    if len(shown) < len(found):
        console.print(f"{len(found) - len(shown):,} more windows: name them by --from and --to.")


def _found(text: str, days: Days) -> tuple[Series, list[tuple[Any, list[Statement]]]]:
    context = Context.open("read")
    try:
        series = observations.parse_series(text, observations.series(context.db))
    except ValueError as error:
        raise ConfigError(f"history: {error}") from None
    first, last = days
    since = schema.start_of(first) if first else None
    until = schema.start_of(last) if last else None
    found = observations.restatements(context.db, series)
    within = [
        (at, statements)
        for at, statements in found.items()
        if (since is None or at >= since) and (until is None or at <= until)
    ]
    return series, within


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
