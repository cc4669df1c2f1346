"""`touchstone slack test`: what a notifier does in Slack, done once with a sample, and what is missing for it."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.text import Text

from alerting import folding
from alerting.incidents import Incident, Kind, State, Told
from alerting.reasons import Reason
from alerting.slack import blocks, chart, samples
from alerting.slack.client import PRIVATE, SCOPES, Client, DeliveryError, Identity, Posted
from config import schema
from config.settings import Settings
from quality.findings import Severity
from quality.observations import Cause, Series, Statement
from tasks.cli_common import plain, whoami

ANSWERS: Final = {
    "not_in_channel": "invite the bot: /invite @{user} in {channel}",
    "channel_not_found": "no such channel, or a private one that the bot is not in: /invite @{user} in {channel}",
    "is_archived": "the channel is archived: name another one",
    "missing_scope": "add the scope that is missing to the app, and install it again",
    "invalid_auth": "the token is wrong: copy the bot's token (xoxb-...) again",
    "not_authed": "there is no token: set SLACK_BOT_TOKEN",
    "token_revoked": "the token was revoked: install the app again",
    "token_expired": "the token has expired: turn its rotation off, and install the app again",
    "account_inactive": "the bot was removed: install the app again",
    "no_service": "the webhook was removed: make another one",
}
"""What Slack says -> what to do."""
PAUSE_SECONDS: Final = 1.1
"""Slack takes one message a second in a channel."""


@dataclass(slots=True)
class Trial:
    """One walk through all steps."""

    client: Client
    channel: str
    console: Console
    user: str = "touchstone"
    works: bool = True

    def step(self, what: str, act: Callable[[], str]) -> bool:
        """Do one step and say what came of it."""
        try:
            told = act()
        except DeliveryError as error:
            todo = ANSWERS.get(error.code, "").format(user=self.user, channel=self.channel)
            self.say("no", "red", f"{what}: Slack says {error.code}{f'; {todo}' if todo else ''}")
            self.works = False
            return False
        self.say("ok", "green", f"{what}{f': {told}' if told else ''}")
        return True

    def say(self, mark: str, style: str, line: str) -> None:
        """One line: a mark, and what it is about."""
        self.console.print(Text.assemble((f"{mark:<4}", style), plain(line)), soft_wrap=True)


def run(loaded: Settings, channel: str, console: Console) -> bool:
    """Whether all of it works; told step by step. Raises ConfigError."""
    trial = Trial(Client(loaded.slack), channel, console)
    incident = _sample()
    if trial.client.can_edit:
        _as_bot(trial, incident)
    else:
        _by_webhook(trial, incident)
    return trial.works


def _as_bot(trial: Trial, incident: Incident) -> None:
    now, client = datetime.now(UTC), trial.client
    known: list[Identity] = []
    kept: list[Posted] = []

    def identify() -> str:
        known.append(client.identity())
        return f"{known[0].user} of {known[0].team}"

    if not trial.step("token", identify):
        return
    _scopes(trial, known[0])

    def post() -> str:
        kept.append(client.post(trial.channel, blocks.root(incident, now)))
        return f"{trial.channel} is {kept[0].channel}, message {kept[0].ts}"

    if not trial.step("post a message", post):
        return
    (posted,) = kept
    over = _over(incident, posted)

    def probe() -> str:
        found = client.posted(posted.channel, now - timedelta(minutes=10))
        if found.get((incident.id, incident.revision, "root")) != posted:
            raise DeliveryError("the message just posted is not in the channel's history")
        return "a message whose delivery is in doubt is looked for before it is posted again"

    def edit() -> str:
        client.update(posted, blocks.root(over, datetime.now(UTC)))
        return "it says that it is resolved now"

    def answer() -> str:
        client.post(posted.channel, blocks.reply(over, Reason.RESOLVED, datetime.now(UTC)), thread_ts=posted.ts)
        return ""

    def draw() -> str:
        client.upload(posted, f"{incident.id}.png", "A sample", _picture(incident))
        return ""

    trial.step("find it again", probe)
    trial.step("edit it", edit)
    time.sleep(PAUSE_SECONDS)
    trial.step("answer in its thread", answer)
    trial.step("put a chart into the thread", draw)


def _picture(incident: Incident) -> bytes:
    """Three weeks of made-up deployments, none of them on the windows that fail."""
    last = max(date.fromisoformat(window) for window in incident.failing)
    days = [last - timedelta(days=n) for n in range(20, -1, -1)]
    known = [
        Statement(
            at := schema.start_of(day),
            0 if day.isoformat() in incident.failing else 3 + day.day % 4,
            at,
            "",
            Cause.FIRST,
        )
        for day in days
    ]
    return chart.drawn(Series(*(incident.facts.series or ("sample", "sample", "deployments"))), known, incident.failing)


def _scopes(trial: Trial, who: Identity) -> None:
    trial.user = who.user
    for scope, purpose in SCOPES.items():
        if scope in who.missing:
            trial.works = False
            trial.say("no", "red", f"scope {scope} is missing: {purpose}")
        else:
            trial.say("ok", "green", f"scope {scope}: {purpose}")
    for scope, purpose in PRIVATE.items():
        mark, style, told = ("ok", "green", "") if scope in who.scopes else ("-", "dim", " is not there")
        trial.say(mark, style, f"scope {scope}{told}: {purpose}")


def _by_webhook(trial: Trial, incident: Incident) -> None:
    posted = Posted("webhook", "")

    def post(one: Incident) -> str:
        trial.client.post(trial.channel, blocks.root(one, datetime.now(UTC)))
        return "in the channel that the webhook has"

    if not trial.step("post a message", lambda: post(incident)):
        return
    time.sleep(PAUSE_SECONDS)
    trial.step("post that it is over", lambda: post(_over(incident, posted)))
    trial.say(
        "-", "yellow", "a webhook cannot edit, answer in threads, draw charts, or look for what may have arrived:"
    )
    trial.say(
        "", "", "each change is a message of its own, and after a lost answer one may come twice. See docs/alerts.md"
    )


def _sample() -> Incident:
    """An open incident that looks like a real one, and says that it is none."""
    found = next(
        one
        for one in samples.samples()
        if one.state is State.OPEN and one.kind is Kind.FINDING and one.severity is Severity.CRITICAL
    )
    facts = replace(found.facts, title=f"A sample, nothing is wrong: {found.facts.title}")
    return replace(found, id=f"sample-{secrets.token_hex(4)}-1", facts=facts, told=None)


def _over(incident: Incident, posted: Posted) -> Incident:
    """`incident`, told and then resolved."""
    now = datetime.now(UTC)
    told = Told(incident.revision, incident.state, incident.severity, now, posted.channel, posted.ts)
    return folding.resolve(replace(incident, told=told), whoami(), now, "touchstone slack test: nothing was wrong")
