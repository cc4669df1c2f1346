"""`touchstone detector status|backtest|selftest|feedback|expect`."""

import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from tasks.cli_common import FAILED, AsJson, Dataset, OneScope, err, out, parse_day, parse_text, whoami
from tasks.cli_incidents import By, parse_words

app = typer.Typer(
    help="The detector of anomalies: try it on your own history, and tell it what you know.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Word(StrEnum):
    """What a person says of an anomaly."""

    EXPECTED = "expected"
    FAULT = "fault"


Charts = Annotated[
    Path | None, typer.Option(file_okay=False, metavar="FOLDER", help="Draw charts (SVG) into this folder.")
]
Note = Annotated[str | None, typer.Option(parser=parse_words, metavar="TEXT", help="Why; kept with what you say.")]


@app.command()
def status(
    dataset: Dataset = None,
    scope: OneScope = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show of each series whether it is judged or blind, what is missing, and what was said of it last."""
    from tasks import detector_status  # noqa: PLC0415 - commands load what they need

    found = detector_status.found(dataset, scope)
    if as_json:
        sys.stdout.write(detector_status.as_json(found) + "\n")
    else:
        detector_status.show(found, out)


@app.command()
def backtest(
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How many days, up to yesterday.")] = 90,
    dataset: Dataset = None,
    scope: OneScope = None,
    charts: Charts = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Replay stored history day by day, and show the alerts that would have fired. Writes nothing to the database."""
    from tasks import backtests  # noqa: PLC0415

    found = backtests.run(days, dataset, scope)
    _put_out(backtests, found, charts, as_json=as_json)


@app.command()
def selftest(
    dataset: Dataset = None,
    days: Annotated[int, typer.Option(min=60, max=36_500, help="Where faults are put: so many days back.")] = 365,
    seed: Annotated[int, typer.Option(min=0, help="Other places, other rows that are lost.")] = 0,
    charts: Charts = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Inject faults into copies of your own history, in memory, and show which would be found."""
    from tasks import selftests  # noqa: PLC0415

    found = selftests.run(days, dataset, seed)
    _put_out(selftests, found, charts, as_json=as_json)


@app.command()
def feedback(
    incident: Annotated[str, typer.Argument(parser=parse_text, metavar="INCIDENT", help="Its id, or the start of it.")],
    says: Annotated[Word, typer.Argument(metavar="expected|fault", help="What it was.")],
    note: Note = None,
    by: By = None,
) -> None:
    """Say of an anomaly that it was expected, or a fault: the first teaches from now on, the second never."""
    from quality.detector.said import Says  # noqa: PLC0415
    from tasks import feedback as said  # noqa: PLC0415

    try:
        lines = said.feedback(incident, Says(says), by or whoami(), note or "")
    except said.FeedbackError as error:
        err.print(f"touchstone: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from None
    _tell(lines)


@app.command()
def expect(  # noqa: PLR0913, PLR0917 - options
    dataset: Annotated[str, typer.Argument(parser=parse_text, help="e.g. silver.deployments")],
    scope: Annotated[str, typer.Argument(parser=parse_text, help="e.g. acme/api")],
    measure: Annotated[
        list[str] | None,
        typer.Option(parser=parse_text, metavar="M", help="Only of this measure, e.g. rows; may be repeated."),
    ] = None,
    start: Annotated[
        date | None, typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="Since when.")
    ] = None,
    note: Note = None,
    by: By = None,
) -> None:
    """Say that this is the new normal: another level is learnt at once, not after `learn_shift_after` windows."""
    from tasks import feedback as said  # noqa: PLC0415

    _tell(said.expect(dataset, scope, measure or (), start, by or whoami(), note or ""))


def _put_out(of: ModuleType, found: Any, charts: Path | None, *, as_json: bool) -> None:
    """What was `found`, by the module that knows how: for programs or for people, and as charts."""
    if as_json:
        sys.stdout.write(of.as_json(found) + "\n")
    else:
        of.show(found, out)
    if charts is not None:
        of.draw(found, charts, err)


def _tell(lines: list[str]) -> None:
    for line in lines:
        err.print(line, markup=False, soft_wrap=True)
