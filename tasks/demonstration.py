"""`touchstone demo`: the whole pipeline on a real git history and an embedded MongoDB, shown in the terminal.

First the metrics of a repository; then, in `demonstration_story`, what becomes of them when a source breaks.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from config import schema
from config.catalog import DEPLOYMENTS
from tasks import bronze, report, running
from tasks.context import Context
from tasks.demonstration_place import RECORDED, command, toml, use
from tasks.demonstration_stage import slack_of_user
from tasks.demonstration_story import Told, tell
from tasks.sources import registry
from tasks.sources.contract import SourceError

EARLIEST_TAG: Final = date(1990, 1, 1)
"""CVS is from 1990; tags that claim to be older have a broken date."""
BAR: Final = 48
DAYS_SHOWN: Final = 12


def show(repository: str, console: Console) -> None:
    """Run it on `repository` (path or URL), tell the story, and say how to go on.

    Raises SourceError if git cannot read it, ConfigError, MongoError, PyMongoError.
    """
    slack = slack_of_user()
    lines = _metrics(repository, console)
    told = tell(console, slack)
    console.print("\nOf a repository of yours: make demo REPO=path-or-url", markup=False)
    console.print("\nTry next:", style="bold")
    for line in [*lines, *(_going_on(told) if told else [])]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    path = told.config if told else None
    console.print("With a bot's token in SLACK_BOT_TOKEN, and a channel in TOUCHSTONE_SLACK_CHANNEL (docs/alerts.md):")
    for words in (("slack", "test"), ("notify",)):
        console.print(f"  {command(path, *words)}", markup=False, soft_wrap=True)


def _metrics(repository: str, console: Console) -> list[str]:
    """Print the metrics of `repository`; returns commands that show more of it."""
    origin = _origin(repository)
    console.print(f"[bold]Touchstone demo[/bold]: DORA metrics of [bold]{origin}[/bold], from its own git history")
    path = _configure(repository, origin)
    context = Context.open("demo")
    first = _first_deployment(context, origin)
    if first is None:
        console.print(
            f"\n{origin} has no tags, and a tag counts as a deployment in git-derived data: its zeros are proven.",
            markup=False,
        )
        if repository != "." or not RECORDED.exists():
            return []
        origin = "psf/requests"
        console.print(
            f"So here is the recorded history of {origin} instead (make demo REPO=path-or-url for your own).\n"
        )
        first = _first_deployment(context, origin)
    start, end = first or context.now.date(), context.now.date()
    outcome = running.run(start, end, workers=1, console=Console(stderr=True))
    for failure in outcome.failures:
        raise SourceError(failure)
    lines = [line for line in report.rows(start, end, [origin]) if line["trust"] != "unknown"]
    deployed = [line for line in lines if line["deployment_frequency"]]
    report.print_table(deployed[-DAYS_SHOWN:], console)
    console.print(f"the last {min(DAYS_SHOWN, len(deployed))} of {len(deployed)} days with a deployment\n")
    _chart(deployed, console)
    day = deployed[-1]["day"] if deployed else end.isoformat()
    return [
        command(path, "explain", "gold.dora_daily", day),
        command(path, "metrics", "--from", str(start), "--to", str(end), "--format", "csv"),
        command(path, "status"),
    ]


def _going_on(told: Told) -> list[str]:
    """Commands that show more of the story."""
    return [
        command(told.config, "incidents", "list", "--all"),
        command(told.config, "incidents", "show", told.incident),
        command(told.config, "history", told.series, "--date", str(told.day)),
    ]


def _origin(repository: str) -> str:
    """A short name for a path or URL: its last two parts."""
    text = str(Path(repository).resolve()) if Path(repository).exists() else repository
    parts = [part for part in re.split(r"[/:\\]+", re.sub(r"//[^/@]*@", "//", text)) if part]
    local = Path(repository).exists()
    return "/".join(parts[-1:] if local else parts[-2:]).removesuffix(".git").replace("|", "_") or "repository"


def _configure(repository: str, origin: str) -> Path:
    """Write the demo's own configuration, and use it."""
    url = str(Path(repository).resolve()) if Path(repository).exists() else repository
    text = (
        'state = "."\n\n'
        f'[mongo]\ndatabase = "demo_{schema.digest(url)[:12]}"\n\n'
        "[[sources]]\n"
        'name = "code"\n'
        'type = "git"\n'
        f"repositories = [{{ origin = {toml(origin)}, url = {toml(url)} }}]\n"
    )
    if repository == "." and RECORDED.exists():
        text += f'\n[[sources]]\nname = "history"\ntype = "replay"\npaths = [{toml(str(RECORDED.resolve()))}]\n'
    return use("touchstone.toml", text)


def _first_deployment(context: Context, origin: str) -> date | None:
    """Sweep, and say on which day the first deployment of `origin` was."""
    today = context.now.date()
    for source in registry.configured(context.settings):
        for unit in source.units():
            if error := bronze.sweep(context, source, unit, (today, today + timedelta(days=1)), lambda: context.now):
                raise SourceError(error)
    found = context.db[DEPLOYMENTS.upstream[0]].find_one(
        {"origin": origin, "window": {"$gte": schema.start_of(EARLIEST_TAG)}}, sort=[("window", 1)]
    )
    return found["window"].date() if found else None


def _chart(lines: Sequence[dict[str, Any]], console: Console) -> None:
    """Deployments and delivered changes by year, or by month where there are few years."""
    if not lines:
        return
    width = 4 if lines[0]["day"][:4] != lines[-1]["day"][:4] else 7
    deployments: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    for line in lines:
        deployments[line["day"][:width]] += line["deployment_frequency"]
        changes[line["day"][:width]] += line["changes_shipped"] or 0
    console.print("Deployments, and the changes they delivered", style="bold")
    most = max(deployments.values())
    for period in sorted(deployments):
        bar = "█" * max(1, round(BAR * deployments[period] / most))
        console.print(
            Text.assemble(
                f"{period}  ",
                (bar.ljust(BAR), "green"),
                f" {deployments[period]:>6,}",
                (f" {changes[period]:>8,}", "dim"),
            )
        )
