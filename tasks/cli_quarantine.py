"""`touchstone quarantine list|show|replay|discard`."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from tasks.cli_common import FAILED, AsJson, Dataset, Ids, Limit, OneScope, SomeIds, err, out

app = typer.Typer(help="Rows and records that were set aside.", no_args_is_help=True, rich_markup_mode=None)


class State(StrEnum):
    """What became of a record."""

    OPEN = "open"
    RELEASED = "released"
    DISCARDED = "discarded"
    ALL = "all"


RuleName = Annotated[str | None, typer.Option("--rule", help="Only what breaks this rule.")]


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - options
    dataset: Dataset = None,
    rule: RuleName = None,
    scope: OneScope = None,
    state: Annotated[State, typer.Option(help="What became of it.")] = State.OPEN,
    limit: Limit = 50,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List what was set aside, newest first."""
    from tasks import aside  # noqa: PLC0415 - commands load what they need

    where = aside.filters(dataset, rule, scope, None if state is State.ALL else str(state))
    documents = aside.listed(where, limit)
    if as_json:
        sys.stdout.write(aside.as_json(documents) + "\n")
    else:
        aside.print_list(documents, aside.count(where), out)


@app.command()
def show(
    ids: Ids,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show records whole: the rule, the value, what became of it, and the item itself."""
    from tasks import aside  # noqa: PLC0415

    documents = aside.found(ids)
    if as_json:
        sys.stdout.write(aside.as_json(documents) + "\n")
        return
    for document in documents:
        aside.print_one(document, out)


@app.command()
def replay(
    ids: SomeIds = None,
    dataset: Dataset = None,
    rule: RuleName = None,
    scope: OneScope = None,
    later: Annotated[bool, typer.Option("--later", help="Leave it to the next run.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Try records again, through the normal stages: those named, or all that the options name."""
    from tasks import aside  # noqa: PLC0415
    from tasks.context import Context  # noqa: PLC0415

    documents = _chosen(ids, aside.filters(dataset, rule, scope, str(State.OPEN)))
    number = aside.replay(documents, Context.open("replay", datetime.now(UTC)))
    err.print(f"{number:,} records will be tried again{' by the next run' if later else ''}.")
    if later or not number:
        return
    _run()
    left = {"_id": {"$in": [one["_id"] for one in documents]}, "state": str(State.OPEN)}
    still = aside.count(left)
    err.print(f"{number - still:,} went on; {still:,} are set aside again.")
    if still:
        raise typer.Exit(FAILED)


@app.command()
def discard(  # noqa: PLR0913, PLR0917 - options
    reason: Annotated[str, typer.Option(help="Why it is no data; kept with the record.")],
    ids: SomeIds = None,
    dataset: Dataset = None,
    rule: RuleName = None,
    scope: OneScope = None,
    later: Annotated[bool, typer.Option("--later", help="Leave it to the next run.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Say that records are no data: they are kept, and no longer count against their windows."""
    from tasks import aside  # noqa: PLC0415
    from tasks.context import Context  # noqa: PLC0415

    documents = _chosen(ids, aside.filters(dataset, rule, scope, str(State.OPEN)))
    number = aside.discard(documents, reason, Context.open("discard", datetime.now(UTC)))
    err.print(f"{number:,} records discarded.")
    if number and not later:
        _run()


def _chosen(ids: list[str] | None, where: dict[str, Any]) -> list[dict[str, Any]]:
    from tasks import aside  # noqa: PLC0415

    if ids:
        return aside.found(ids)
    if len(where) == 1:
        raise typer.BadParameter("name records by their ids, or by --dataset, --rule or --scope")
    return aside.listed(where, 0)


def _run() -> None:
    """Bring everything up to now, as `touchstone run` does."""
    from tasks import running  # noqa: PLC0415

    today = datetime.now(UTC).date()
    outcome = running.run(min(running.first_day() or today, today), today, workers=1, console=err)
    for failure in outcome.failures:
        err.print(f"failed: {failure}", style="red", markup=False)
    if outcome.failures:
        raise typer.Exit(FAILED)
