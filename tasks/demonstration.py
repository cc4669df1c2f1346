"""`touchstone demo`: the whole pipeline on a real git history and an embedded MongoDB, shown in the terminal."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from config import schema
from config import settings as configuration
from config.catalog import DEPLOYMENTS
from tasks import bronze, report, running
from tasks.context import Context
from tasks.sources import registry
from tasks.sources.contract import SourceError

FOLDER: Final = Path(".touchstone") / "demo"
RECORDED: Final = Path("tests/data/git_events/psf__requests/events.jsonl.gz")
EARLIEST_TAG: Final = date(1990, 1, 1)
"""CVS is from 1990; tags that claim to be older have a broken date."""
BAR: Final = 48
DAYS_SHOWN: Final = 12


def show(repository: str, console: Console) -> None:
    """Run it on `repository` (path or URL) and print what came out.

    Raises SourceError if git cannot read it, ConfigError, MongoError.
    """
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
            return
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
    command = f".venv/bin/touchstone --config {path}"
    day = deployed[-1]["day"] if deployed else end.isoformat()
    console.print("\nTry next:", style="bold")
    for line in (
        f"{command} explain gold.dora_daily {day}",
        f"{command} check silver.deployments --date {day}",
        f"{command} metrics --from {start} --to {end} --format csv",
        f"{command} status",
        "make demo REPO=https://host/your/repository.git",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _origin(repository: str) -> str:
    """A short name for a path or URL: its last two parts."""
    text = str(Path(repository).resolve()) if Path(repository).exists() else repository
    parts = [part for part in re.split(r"[/:\\]+", re.sub(r"//[^/@]*@", "//", text)) if part]
    local = Path(repository).exists()
    return "/".join(parts[-1:] if local else parts[-2:]).removesuffix(".git").replace("|", "_") or "repository"


def _configure(repository: str, origin: str) -> Path:
    """Write the demo's own configuration, and use it."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = FOLDER / configuration.DEFAULT_NAME
    url = str(Path(repository).resolve()) if Path(repository).exists() else repository
    text = (
        "# Written by `touchstone demo`.\n"
        'state = "."\n\n'
        f'[mongo]\ndatabase = "demo_{schema.digest(url)[:12]}"\n\n'
        "[[sources]]\n"
        'name = "code"\n'
        'type = "git"\n'
        f"repositories = [{{ origin = {_toml(origin)}, url = {_toml(url)} }}]\n"
    )
    if repository == "." and RECORDED.exists():
        text += f'\n[[sources]]\nname = "history"\ntype = "replay"\npaths = [{_toml(str(RECORDED.resolve()))}]\n'
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)  # a URL may hold a credential
    os.environ[configuration.CONFIG_VARIABLE] = str(path.absolute())
    configuration.load.cache_clear()
    return path


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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
