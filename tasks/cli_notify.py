"""`touchstone notify` and `touchstone slack test`."""

from enum import StrEnum
from typing import Annotated

import typer

from config.settings import ConfigError, Settings
from tasks.cli_common import FAILED, err, out, parse_text, until_stopped

slack = typer.Typer(help="The way to Slack.", no_args_is_help=True, rich_markup_mode=None)


@slack.callback()
def _slack() -> None:
    """Commands about Slack."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def notify(
    once: Annotated[bool, typer.Option("--once", help="Deliver what is owed now, and end: for cron.")] = False,  # noqa: FBT002 - a flag
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look.")] = LogFormat.TEXT,
) -> None:
    """Tell incidents in Slack: runs until it is stopped, and delivers each within seconds."""
    from config import settings  # noqa: PLC0415 - commands load what they need
    from tasks import logs  # noqa: PLC0415

    loaded = settings.load()
    must_have_a_way(loaded)
    logs.begin(as_json=log_format is LogFormat.JSON)
    from alerting.notifier import Notifier  # noqa: PLC0415

    notifier = Notifier(loaded)
    if not once:
        notifier.run(until_stopped())
        return
    outcome = notifier.once()
    if not outcome.leader:
        err.print("another notifier is at it, and delivers what is owed.")
        return
    err.print(f"{outcome.told:,} told, {outcome.failed:,} failed, {outcome.owed:,} still owed.")
    if outcome.failed:
        raise typer.Exit(FAILED)


@slack.command("test")
def try_(
    channel: Annotated[
        str | None, typer.Option(parser=parse_text, metavar="CHANNEL", help="Where; else [slack] channel.")
    ] = None,
) -> None:
    """Post a sample incident, edit it, answer in its thread, draw a chart, and tell what works and what is missing."""
    from alerting import routes  # noqa: PLC0415
    from config import settings  # noqa: PLC0415
    from tasks import slack_trial  # noqa: PLC0415

    loaded = settings.load()
    must_have_a_way(loaded, channel)
    first = channel or next(iter(routes.channels(loaded)), "")
    if not slack_trial.run(loaded, first, out):
        raise typer.Exit(FAILED)


def must_have_a_way(loaded: Settings, channel: str | None = None) -> None:
    """Raises ConfigError if there is nobody to tell, or no channel to tell it in."""
    if not loaded.slack.is_configured:
        raise ConfigError(
            "slack: nobody can be told. Set SLACK_BOT_TOKEN (or [slack] token_file), or as the poorer way "
            "TOUCHSTONE_SLACK_WEBHOOK_URL; docs/alerts.md says how to get them"
        )
    if loaded.slack.secret() is not None and not (channel or loaded.slack.channel or loaded.routes):
        raise ConfigError(
            'slack: there is no channel to tell it in. Set [slack] channel = "#data-quality", or [[routes]]'
        )
