"""What the demo's story is told with: a database and files of its own, a notifier, and Slack or a stand-in for it."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.rule import Rule

from alerting.incidents import Incident
from alerting.notifier import Notifier
from alerting.slack.client import Client, DeliveryError
from alerting.standin.page import page
from alerting.standin.server import StandIn
from alerting.standin.terminal import render
from alerting.store import Store
from config import mongo, settings
from config.settings import Slack
from tasks import cli, running
from tasks.cli_common import plain
from tasks.demonstration_place import FOLDER, command, use
from tasks.sources.contract import SourceError

DATABASE: Final = "demo_story"
EVENTS: Final = FOLDER / "story"
"""The folder that the export writes into: what there was before, and then a file a day."""
PAGE: Final = FOLDER / "slack.html"
TOKEN: Final = "SLACK_BOT_TOKEN"  # noqa: S105 - the name of a variable
CONFIGURATION: Final = f"""state = "."

[mongo]
database = "{DATABASE}"

[[sources]]
name = "history"
type = "replay"
paths = ["{EVENTS.name}/*.jsonl"]
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One telling."""

    console: Console
    config: Path
    notifier: Notifier
    standin: StandIn | None
    """None: the real Slack."""

    def say(self, text: str) -> None:
        """A sentence or two, wrapped."""
        self.console.print(text, markup=False, highlight=False)

    def chapter(self, title: str) -> None:
        """The next part of the story."""
        self.console.print()
        self.console.print(title, style="bold", markup=False, highlight=False)

    def command(self, *words: str) -> None:
        """Show a command, and do what it does."""
        self.console.print(f"\n$ {command(self.config, *words)}", style="cyan", markup=False, soft_wrap=True)
        typer.main.get_command(cli.app).main(list(words), "touchstone", standalone_mode=False)

    def export(self, day: date, text: str) -> Path:
        """What the source has to say of `day`; a file for it."""
        path = EVENTS / f"{day}.jsonl"
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, first: date, last: date) -> None:
        """Run the pipeline. Raises SourceError, MongoError."""
        outcome = running.run(first, last, workers=1, console=Console(stderr=True))
        for failure in outcome.failures:
            raise SourceError(failure)

    def deliver(self) -> float:
        """Let the notifier tell what is owed; returns how many seconds that took. Raises MongoError, PyMongoError."""
        begun = time.monotonic()
        outcome = self.notifier.once()
        if outcome.failed or outcome.owed:
            self.say("Slack did not take all of it: `touchstone slack test` says what is missing.")
        return time.monotonic() - begun

    def incidents(self) -> list[Incident]:
        """Those that are open, and no effect of another."""
        loaded = settings.load()
        return Store.of(mongo.database(loaded), loaded).listed({"open": True, "cause": None})

    def slack(self) -> None:
        """The channel as it stands."""
        if self.standin is None:
            self.say(f"(It is in {self.notifier.settings.slack.channel} of your Slack.)")
            return
        names = {name: f"#{channel.name}" for name, channel in self.standin.workspace.channels.items()}
        messages = list(self.standin.messages)
        render(messages, self.console, names=names)
        PAGE.write_text(page(messages, names=names), encoding="utf-8")


def slack_of_user() -> Slack | None:
    """The Slack of whoever runs this, if SLACK_BOT_TOKEN is set and a channel is known. Raises ConfigError.

    To be asked before a configuration of the demo is used.
    """
    if not os.environ.get(TOKEN):
        return None
    slack = settings.load().slack
    channel = os.environ.get("SLACK_CHANNEL") or slack.channel
    return slack.model_copy(update={"channel": channel}) if channel else None


@contextmanager
def prepared(console: Console, slack: Slack | None) -> Iterator[Stage]:
    """A stage on which nothing was told yet. Raises ConfigError, MongoError, PyMongoError."""
    console.print()
    console.print(Rule("[bold]What happens when a source breaks[/bold]", align="left", style="dim"))
    with _way(console, slack) as (way, standin):
        config = use("story.toml", CONFIGURATION)
        mongo.foreign(settings.load(), None, None).client.drop_database(DATABASE)
        mongo.close()  # it may have known that the database is prepared
        shutil.rmtree(EVENTS, ignore_errors=True)
        EVENTS.mkdir(parents=True)
        notifier = Notifier(settings.load().model_copy(update={"slack": way}))
        yield Stage(console, config, notifier, standin)


@contextmanager
def _way(console: Console, slack: Slack | None) -> Iterator[tuple[Slack, StandIn | None]]:
    """The way to the real Slack if it answers, else to a stand-in; says which."""
    told = f"Slack is a stand-in on this machine: {TOKEN} and TOUCHSTONE_SLACK_CHANNEL make it yours."
    if slack is not None:
        try:
            team = Client(slack).identity().team
        except DeliveryError as error:
            told = f"Your Slack says {error.code}: a stand-in on this machine takes its place."
        else:
            told = f"{TOKEN} is set: this is told in {plain(slack.channel)} of {plain(team)}, too."
            console.print(told, markup=False, highlight=False)
            yield slack, None
            return
    console.print(told, markup=False, highlight=False)
    token = os.environ.pop(TOKEN, None)  # the stand-in has one of its own
    try:
        with StandIn() as standin:
            yield standin.settings(), standin
    finally:
        if token is not None:
            os.environ[TOKEN] = token
