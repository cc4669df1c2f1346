"""What is declared of alerts: Slack, routes, teams, deadlines, and the notifier."""

import os
import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from config import catalog
from config.section import ConfigError, Name, Section, unset_if_blank


def _is_safe_url(url: str) -> str:
    """`url` with a slash at its end, if what is sent there is not sent in the clear; raises ValueError.

    Addresses are shown in errors and logs, so they may hold nothing that is secret.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = "should be an address alone, without user, password, query or fragment: tokens have keys of their own"
        raise ValueError(message)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        message = "should be an https:// address; http:// only on loopback"
        raise ValueError(message)
    return url if url.endswith("/") else f"{url}/"


SafeUrl = Annotated[str, AfterValidator(_is_safe_url)]
"""An https:// address, or http:// on loopback, with a slash at its end."""


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found is a KeyError
        message = f"{name!r} is not a time zone; write it as Europe/Berlin or UTC"
        raise ValueError(message) from None
    return name


Zone = Annotated[str, AfterValidator(_is_zone)]
"""Name of a time zone, e.g. "Europe/Berlin"."""
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""Time of day, e.g. "09:00"."""
Level = Literal["critical", "warning", "info"]
CRON_FIELDS = 5
COUNTRY_CODE = 2
"""Letters of a country's code (ISO 3166-1)."""
GOLD = catalog.DORA_DAILY.name


class Slack(Section):
    """Where incidents are told. Without a token or webhook nobody is told, and incidents are only kept."""

    base_url: SafeUrl = "https://slack.com/api/"
    channel: str | None = None
    """Name ("#data-quality") or id of the channel that no route takes an incident from."""
    token: Annotated[SecretStr | None, BeforeValidator(unset_if_blank)] = None
    """The bot's token; better as SLACK_BOT_TOKEN or in `token_file`."""
    token_file: Path | None = None
    webhook_url: Annotated[SecretStr | None, BeforeValidator(unset_if_blank)] = None
    """An incoming webhook, where there is no bot: posts only, nothing is edited, nothing can be probed."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0

    def secret(self) -> str | None:
        """The bot's token, if there is one. Raises ConfigError if `token_file` cannot be read."""
        if token := os.environ.get("SLACK_BOT_TOKEN"):
            return token
        if self.token is not None:
            return self.token.get_secret_value()
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f"slack.token_file: {self.token_file} cannot be read: {reason}") from None

    @property
    def is_configured(self) -> bool:
        """Whether there is anybody to tell."""
        return self.webhook_url is not None or self.secret() is not None


def _is_channel(name: str) -> str:
    if not re.fullmatch(r"[CDGUW][A-Z0-9]{2,20}", name) and not re.fullmatch(r"#?(?:[^\WA-Z]|-){1,80}", name):
        message = (
            f"{name!r} is no channel; write its name in small letters, as #data-quality, or its id, as C0123456789"
        )
        raise ValueError(message)
    return name


def _is_mention(name: str) -> str:
    if not re.fullmatch(r"here|channel|[USW][A-Z0-9]{2,20}", name):
        message = f'{name!r} mentions nobody; write the id of a user (U...) or a group (S...), "here" or "channel"'
        raise ValueError(message)
    return name


Mention = Annotated[str, AfterValidator(_is_mention)]


class Route(Section):
    """Which incidents go to which channel; the first that fits is taken."""

    dataset: Annotated[str, Field(min_length=1)] = "*"
    """A name, or the start of names and a star."""
    scope: Annotated[str, Field(min_length=1)] = "*"
    severity: tuple[Level, ...] = ()
    """Empty: each."""
    team: str | None = None
    """Name of the team that owns the scopes; see [[teams]]."""
    channel: Annotated[str, AfterValidator(_is_channel)]
    mention: tuple[Mention, ...] = ()
    """Whom to mention when an incident opens: user ids (U...), group ids (S...), "here" or "channel"."""
    quiet: Annotated[str | None, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] = None
    """Hours of which nobody is told, e.g. "20:00-08:00"; critical incidents do not wait."""
    digest: Clock | None = None
    """Warnings are told once a day, at that time, in one message."""
    timezone: Zone = "UTC"

    @model_validator(mode="after")
    def _quiet_hours_end(self) -> "Route":
        if self.quiet is not None and len(set(self.quiet.split("-"))) == 1:
            message = f"quiet: {self.quiet!r} would never end"
            raise ValueError(message)
        return self


class Team(Section):
    """Who owns which scopes."""

    name: Name
    scopes: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, or starts of names and a star."""
    mention: tuple[Mention, ...] = ()


def _is_cron(text: str) -> str:
    """`text` if it is an expression of five fields that comes true some day; raises ValueError."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - few configurations need it

    try:
        comes = len(text.split()) == CRON_FIELDS and next(CronSim(text, datetime(2000, 1, 1)), None)  # noqa: DTZ001
    except CronSimError as error:
        message = f"{text!r} is no cron expression: {str(error)[:1].lower()}{str(error)[1:]}"
        raise ValueError(message) from None
    if not comes:
        message = f"{text!r} is no cron expression of five fields that ever comes: minute hour day month weekday"
        raise ValueError(message)
    return text


def has_holidays(place: str) -> str:
    """`place`, a country ("DE") or a part of one ("DE-BE"), if its public holidays are known; raises ValueError."""
    import holidays  # noqa: PLC0415 - takes 0.15 s, and few configurations need it

    country, _, part = place.partition("-")
    try:
        known = len(country) == COUNTRY_CODE and holidays.country_holidays(country, subdiv=part or None) is not None
    except NotImplementedError:
        known = False
    if not known:
        message = f'the public holidays of {place!r} are not known; write a country, as "DE", or a part, as "DE-BE"'
        raise ValueError(message)
    return place


class Schedule(Section):
    """When the windows of a dataset must be complete."""

    dataset: Annotated[str, Field(min_length=1)]
    scopes: tuple[str, ...] = ()
    """Empty: each that the dataset has."""
    cron: Annotated[str, AfterValidator(_is_cron)]
    """Five fields; at each of its times all windows that have ended by then must be complete."""
    timezone: Zone = "UTC"
    grace_minutes: Annotated[float, Field(ge=0, le=10_080)] = 0.0
    holidays: Annotated[str, AfterValidator(has_holidays)] | None = None
    """Country, or country and part of it, whose public holidays have no deadline: "DE", "DE-BE"."""
    except_on: tuple[date, ...] = ()
    """Further days without a deadline."""
    severity: Level = "critical"

    @model_validator(mode="after")
    def _dataset_has_windows(self) -> "Schedule":
        if self.dataset in (catalog.DELIVERIES.name, catalog.SWEEP):
            message = f"dataset: {self.dataset!r} has no windows of its own; name what is made from it, as {GOLD!r}"
            raise ValueError(message)
        return self


class Notifier(Section):
    """How incidents are delivered."""

    lease_seconds: Annotated[float, Field(gt=0, le=600)] = 15.0
    """How long after a notifier's death another one waits."""
    sweep_seconds: Annotated[float, Field(gt=0, le=60)] = 30.0
    """How often it looks at what is owed, though nothing has rung."""
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 300.0
    """After how long without a sign of life a run says that the notifier is dead."""
    remind_hours: Annotated[float, Field(ge=0)] = 24.0
    """After how long a critical incident that nobody has acknowledged is told again; 0: never."""
    reopen_hours: Annotated[float, Field(ge=0)] = 24.0
    storm: Annotated[int, Field(ge=1)] = 8
    """More than so many messages owed to one channel at once are told as one."""
    deadman_url: Annotated[SecretStr | None, BeforeValidator(unset_if_blank)] = None
    """Asked for once a minute while all is well, so that somebody else notices when it no longer is."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Prometheus metrics on loopback, if the package is there."""
    page_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Address of the status page, which messages link to."""

    @model_validator(mode="after")
    def _can_work(self) -> "Notifier":
        if self.heartbeat_seconds < self.lease_seconds:
            message = "heartbeat_seconds: must not be shorter than lease_seconds: a sign of life is given as often"
            raise ValueError(message)
        if self.deadman_url is not None and not re.match(
            r"https?://[^/\s]+[!-~]*$", self.deadman_url.get_secret_value()
        ):
            message = "deadman_url: should be an address that begins with https:// or http://"
            raise ValueError(message)
        return self
