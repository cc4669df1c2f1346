"""`touchstone incidents list|show|ack|silence|resolve`."""

import re
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import typer

from tasks.cli_common import FAILED, AsJson, Dataset, Ids, Limit, OneScope, err, out, parse_text, whoami

app = typer.Typer(help="Open problems: look, and say who does what.", no_args_is_help=True, rich_markup_mode=None)

LONGEST: Final = timedelta(days=366)
"""A longer silence is a rule that should be dropped, or a year that is mistyped."""
WORDS: Final = 1000
"""Characters of a note: all of it is told, and kept for ever."""
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}


class Severity(StrEnum):
    """How bad it is."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


def parse_until(text: str) -> datetime:
    """A moment, in UTC. Raises typer.BadParameter: without a time zone nobody knows which one is meant."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # told below
    raise typer.BadParameter(f"{text!r} is not a moment with its time zone; write it as 2026-12-01T08:00Z or +01:00")


def parse_span(text: str) -> timedelta:
    """A length of time: "2h", "3d", "1h30m". Raises typer.BadParameter."""
    try:
        if re.fullmatch(r"(\d{1,6}[wdhm])+", text, re.ASCII):
            parts = re.findall(r"(\d+)([wdhm])", text)
            return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        pass  # told below
    raise typer.BadParameter(f"{text!r} is not a length of time; write it as 90m, 2h, 3d or 1w")


def parse_words(text: str) -> str:
    """A note in a few words. Raises typer.BadParameter for none, and for more than are told."""
    if not text.strip():
        raise typer.BadParameter("it is empty; say it in a few words")
    if len(text) > WORDS:
        raise typer.BadParameter(f"it has {len(text):,} characters, and {WORDS:,} are told; say it shorter")
    return parse_text(text.strip())


By = Annotated[
    str | None,
    typer.Option(parser=parse_words, metavar="WHO", help="Who says so; else the account and host of this shell."),
]
Why = Annotated[str, typer.Option(parser=parse_words, metavar="TEXT", help="Why; kept with the incident, and told.")]


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - options
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones and effects of others too.")] = False,  # noqa: FBT002 - a flag
    dataset: Dataset = None,
    scope: OneScope = None,
    severity: Annotated[Severity | None, typer.Option(help="Only of this severity.")] = None,
    cause: Annotated[
        str | None, typer.Option(parser=parse_text, metavar="ID", help="Only what this one causes, or tells together.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List the open incidents that are no effects of others, the worst first."""
    from tasks import oncall  # noqa: PLC0415 - commands load what they need

    asked = oncall.Asked(dataset, scope, str(severity) if severity else None, cause, everything)
    listed = oncall.listed(asked, limit)
    if as_json:
        sys.stdout.write(oncall.as_json(listed.incidents) + "\n")
    else:
        oncall.print_list(listed, datetime.now(UTC), out)


@app.command()
def show(
    ids: Ids,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show incidents whole: what is wrong, where, since when, what follows, who did what, and what was told where."""
    from tasks import oncall  # noqa: PLC0415

    found, errors = oncall.found(ids)
    if as_json:
        sys.stdout.write(oncall.as_json(found) + "\n")
    else:
        for one in found:
            oncall.print_one(one, datetime.now(UTC), out)
    _end(errors)


@app.command()
def ack(
    ids: Ids,
    note: Annotated[
        str | None, typer.Option(parser=parse_words, metavar="TEXT", help="What you do about it; kept, and told.")
    ] = None,
    by: By = None,
) -> None:
    """Say that you are at it: nobody is reminded any more. Changes for the worse are told all the same."""
    from tasks import oncall  # noqa: PLC0415

    _end(oncall.acknowledge(ids, by or whoami(), note or "", err))


@app.command()
def silence(
    ids: Ids,
    reason: Why,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_until, metavar="TIME", help="e.g. 2026-12-01T08:00Z")
    ] = None,
    span: Annotated[timedelta | None, typer.Option("--for", parser=parse_span, metavar="SPAN", help="e.g. 2h")] = None,
    by: By = None,
) -> None:
    """Have nobody told of it until then. It goes on living; another silence replaces this one."""
    from tasks import oncall  # noqa: PLC0415

    now = datetime.now(UTC)
    if (until is None) == (span is None):
        raise typer.BadParameter("say how long: either --until or --for")
    if span is not None and span > LONGEST:
        raise typer.BadParameter(f"a silence may last {LONGEST.days} days at most")
    end = until if until is not None else now + (span or timedelta())
    if end <= now:
        raise typer.BadParameter(f"{end:%Y-%m-%d %H:%M} UTC is past; it is {now:%Y-%m-%d %H:%M} UTC")
    if end - now > LONGEST:
        raise typer.BadParameter(f"a silence may last {LONGEST.days} days at most")
    _end(oncall.silence(ids, end, by or whoami(), reason, err))


@app.command()
def resolve(ids: Ids, reason: Why, by: By = None) -> None:
    """Say that it is over: what failed until now no longer counts. What fails from now on opens it again."""
    from tasks import oncall  # noqa: PLC0415

    _end(oncall.resolve(ids, by or whoami(), reason, err))


def _end(errors: list[str]) -> None:
    for error in errors:
        err.print(f"touchstone: {error}", style="red", markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(FAILED)
