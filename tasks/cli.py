"""The command line: `touchstone run|backfill|metrics|status|check|sources|quarantine|incidents|notify|slack|...`.

Exit codes: 0 done; 1 something that was asked for failed; 2 wrong usage or configuration; 3 no usable MongoDB;
130 interrupted.
"""

import json
import logging
import os
import sys
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import CONFIG_VARIABLE, ConfigError
from tasks import cli_detector, cli_incidents, cli_notify, cli_quarantine, cli_sources
from tasks.cli_common import FAILED, INTERRUPTED, NO_MONGO, USAGE, AsJson, Scope, err, out, parse_day, until_stopped

app = typer.Typer(
    help="Data-quality monitoring for DORA pipelines: no zero without proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_quarantine.app, name="quarantine")
app.add_typer(cli_incidents.app, name="incidents")
app.add_typer(cli_detector.app, name="detector")
app.add_typer(cli_notify.slack, name="slack")
app.add_typer(cli_sources.app, name="sources")


class Format(StrEnum):
    """How `metrics` prints."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


From = Annotated[date, typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="First day (UTC).")]
To = Annotated[date, typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="Last day (UTC), included.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that share the work.")]


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option(help=f"Configuration file; else {CONFIG_VARIABLE}.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell what happens, also Luigi's log.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Options of every command."""
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config.absolute())
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for name in ("luigi", "luigi-interface", "luigi.scheduler"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.CRITICAL)


@app.command()
def run(
    day: Annotated[
        date | None, typer.Option("--date", parser=parse_day, metavar="YYYY-MM-DD", help="Just this day (UTC).")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Bring everything up to now: for cron, as often as you like.

    Without --date all days from the first that was ever computed to today: on a new database that is today alone, and
    `backfill` does the past. What became stale is repaired in any case.
    """
    from tasks import running  # noqa: PLC0415 - commands load what they need

    today = datetime.now(UTC).date()
    _not_after(day, today)
    first = day or min(running.first_day() or today, today)
    _work(first, day or today, workers)


@app.command()
def backfill(start: From, end: To, workers: Workers = 1) -> None:
    """Complete all days of a range; goes on where an earlier run was interrupted."""
    if end < start:
        raise typer.BadParameter(f"--to {end} lies before --from {start}")
    _not_after(end, datetime.now(UTC).date())
    _work(start, end, workers)


def _not_after(day: date | None, today: date) -> None:
    if day and day > today:
        raise typer.BadParameter(f"{day} lies in the future; today is {today} (UTC)")


def _work(start: date, end: date, workers: int) -> None:
    from tasks import running  # noqa: PLC0415

    outcome = running.run(start, end, workers=workers, console=err)
    for line in outcome.notes:
        err.print(line, markup=False)
    if outcome.failures:
        for failure in outcome.failures:
            err.print(f"failed: {failure}", style="red", markup=False)
        raise typer.Exit(FAILED)


@app.command()
def metrics(
    start: Annotated[
        date | None, typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="First day (UTC).")
    ] = None,
    end: Annotated[
        date | None, typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="Last day (UTC), included.")
    ] = None,
    scope: Scope = None,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    explained: Annotated[
        tuple[str, str] | None,
        typer.Option("--explain", metavar="SCOPE YYYY-MM-DD", help="What is behind the numbers of one day."),
    ] = None,
) -> None:
    """Print the DORA metrics of a range of days. What is not known is empty, never 0."""
    from tasks import report  # noqa: PLC0415

    if explained is not None:
        _explain_numbers(*explained, form)
        return
    if start is None or end is None:
        raise typer.BadParameter("name the days by --from and --to, or one by --explain SCOPE YYYY-MM-DD")
    if end < start:
        raise typer.BadParameter(f"--to {end} lies before --from {start}")
    rows = report.rows(start, end, scope)
    match form:
        case Format.CSV:
            report.write_csv(rows, sys.stdout)
        case Format.JSON:
            report.write_json(rows, sys.stdout)
        case Format.TABLE:
            report.print_table(list(rows), out)


def _explain_numbers(scope: str, day: str, form: Format) -> None:
    from tasks import explained, explained_tables  # noqa: PLC0415

    if form is Format.CSV:
        raise typer.BadParameter("--explain is told as a table or as JSON")
    told = explained.told(scope, parse_day(day))
    if form is Format.JSON:
        explained.write_json(told, sys.stdout)
    else:
        explained_tables.show(told, out)


@app.command()
def status(
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show per dataset how many windows are complete, stale, missing or failed, and why."""
    from tasks import report  # noqa: PLC0415

    summary = report.summary()
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")
    else:
        report.print_summary(summary, out)


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="e.g. silver.deployments")],
    day: Annotated[
        date | None, typer.Option("--date", parser=parse_day, metavar="YYYY-MM-DD", help="Just this window, in full.")
    ] = None,
    scope: Scope = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what the rules of a dataset found: severity, rows, examples, the expected against the observed."""
    from tasks import inspection  # noqa: PLC0415

    if as_json:
        sys.stdout.write(inspection.as_json(dataset, scope, day) + "\n")
    elif not inspection.check(dataset, scope, day, out):
        raise typer.Exit(FAILED)


@app.command()
def history(
    series: Annotated[str, typer.Argument(help="e.g. gold.dora_daily:acme/api:deployment_frequency")],
    day: Annotated[
        date | None, typer.Option("--date", parser=parse_day, metavar="YYYY-MM-DD", help="Just this window.")
    ] = None,
    start: Annotated[
        date | None, typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="First day (UTC).")
    ] = None,
    end: Annotated[
        date | None, typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="Last day (UTC), included.")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what was known of a number on which date, and why it changed."""
    from tasks import restatements  # noqa: PLC0415

    days = (day or start, day or end)
    if as_json:
        sys.stdout.write(restatements.as_json(series, days) + "\n")
    else:
        restatements.show(series, days, out)


@app.command()
def explain(
    dataset: Annotated[str, typer.Argument(help="e.g. gold.dora_daily")],
    window: Annotated[date, typer.Argument(parser=parse_day, metavar="YYYY-MM-DD")],
    scope: Scope = None,
) -> None:
    """Tell why a window is complete or not: inputs, revisions, code version, receipts."""
    from tasks import report  # noqa: PLC0415

    if not report.explain(dataset, window, scope, out):
        raise typer.Exit(FAILED)


app.command()(cli_notify.notify)


@app.command()
def mongod() -> None:
    """Keep the embedded MongoDB running until Ctrl-C, and print its URI: commands start faster meanwhile."""
    from config import mongo, settings  # noqa: PLC0415

    loaded = settings.load()
    if loaded.mongo.uri:
        raise ConfigError("a MongoDB is configured (TOUCHSTONE_MONGO_URI or [mongo] uri); there is none to embed")
    mongo.database(loaded)
    sys.stdout.write(mongo.embedded_uri(loaded) + "\n")
    sys.stdout.flush()
    until_stopped().wait()


@app.command()
def version() -> None:
    """Print the versions of Touchstone, its definitions, and what it stands on."""
    from tasks import report  # noqa: PLC0415

    report.print_versions(out)


@app.command()
def demo(
    repo: Annotated[str, typer.Option(envvar="REPO", help="Path or URL of a git repository.")] = ".",
) -> None:
    """Compute the DORA metrics of a git repository, this one if none is named, and show them."""
    from tasks.demonstration import show  # noqa: PLC0415

    show(repo or ".", out)


def main() -> None:
    """Run the command line; errors that a person can answer are told without a traceback."""
    from pymongo.errors import PyMongoError  # noqa: PLC0415

    from config.mongo import MongoError  # noqa: PLC0415
    from config.redaction import redacted  # noqa: PLC0415
    from tasks.sources.contract import SourceError  # noqa: PLC0415

    command: Any = typer.main.get_command(app)
    try:
        sys.exit(command.main(standalone_mode=True))
    except KeyboardInterrupt:
        _tell("interrupted; what was published stays, and the next run goes on from there")
        sys.exit(INTERRUPTED)
    except ConfigError as error:
        _tell(error)
        sys.exit(USAGE)
    except MongoError as error:
        _tell(error)
        sys.exit(NO_MONGO)
    except PyMongoError as error:
        _tell(f"MongoDB failed in the middle; run again once it is well: {redacted(str(error))}")
        sys.exit(NO_MONGO)
    except SourceError as error:
        _tell(error)
        sys.exit(FAILED)


def _tell(error: object) -> None:
    err.print(f"touchstone: {error}", style="red", markup=False, soft_wrap=True)


__all__ = ["FAILED", "INTERRUPTED", "NO_MONGO", "USAGE", "app", "main"]

if __name__ == "__main__":
    main()
