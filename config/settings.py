"""touchstone.toml and the environment become one frozen object; nothing else reads configuration.

A value is looked for in the environment first (`TOUCHSTONE_<SECTION>_<KEY>`, e.g. `TOUCHSTONE_MONGO_URI`), then in the
file named by `--config` or `TOUCHSTONE_CONFIG`, else `touchstone.toml` in the current folder. Relative paths in
the file are relative to the file. Every mistake is a `ConfigError` that names the key and the file.
"""

import os
import re
import tomllib
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config import catalog

CONFIG_VARIABLE = "TOUCHSTONE_CONFIG"
DEFAULT_NAME = "touchstone.toml"
EXAMPLE = Path(__file__).with_name("touchstone.example.toml")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and the file, never a value."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _unset_if_blank(value: Any) -> Any:
    return None if value == "" else value


class Mongo(_Section):
    """Which MongoDB. Without a URI the embedded one, for trying out."""

    uri: Annotated[SecretStr | None, BeforeValidator(_unset_if_blank)] = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "touchstone"
    mongod: Path | None = None
    """The embedded server's program, where the packaged one does not fit."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0


class Replay(_Section):
    """Recorded items from files: JSON Lines, plain or gzip."""

    type: Literal["replay"]
    name: Name
    paths: Annotated[tuple[str, ...], Field(min_length=1)]


class Repository(_Section):
    """One git repository."""

    origin: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^|\x00-\x1f]+$")]
    """What it is called here, and so the scope of its metrics."""
    url: Annotated[str, Field(min_length=1)]
    """Any path or URL that git accepts."""


class Git(_Section):
    """git repositories, read with the real git."""

    type: Literal["git"]
    name: Name
    repositories: Annotated[tuple[Repository, ...], Field(min_length=1)]
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0


class Privacy(_Section):
    """What becomes of people's identities."""

    pseudonymise: bool = True
    pseudonym_key: SecretStr | None = None
    """Keys the hash; without it a random one is kept in the state folder."""


class Pipeline(_Section):
    """How the work is cut."""

    chunk_windows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a worker that went silent keeps a partition from the others."""


class Scheduler(_Section):
    """Luigi's central scheduler, if there is one."""

    url: str | None = None


Dotted = Annotated[str, Field(min_length=1, max_length=500)]
"""The path of a field: names apart by dots, e.g. `payload.user.login`."""


class Rule(_Section):
    """One expectation on a dataset."""

    name: Name
    expectation: Annotated[str, Field(min_length=1)]
    """A Great Expectations name (`expect_...`), or the dotted path of your own class: `package.module.ExpectIt`."""
    arguments: dict[str, Any] = {}
    judges: Literal["row", "partition", "batch"] = "row"
    severity: Literal["critical", "warning", "info"] = "critical"
    why: str = ""
    columns: tuple[Dotted, ...] = ()
    """Further columns that it reads, where its arguments do not name them."""


class Suite(_Section):
    """What must hold of a dataset, and what is measured of it; adds to the suite that is there."""

    dataset: Annotated[str, Field(min_length=1)]
    """A name, or the start of names and a star: `bronze.*`."""
    drop: tuple[Name, ...] = ()
    """Rules that are there and shall not be."""
    rules: tuple[Rule, ...] = ()
    fields: tuple[Dotted, ...] = ()
    numeric: tuple[Dotted, ...] = ()
    categorical: tuple[Dotted, ...] = ()


RESERVED = ("bronze.", "silver.", "gold.")
"""How the names of Touchstone's own datasets begin."""


def _path_of_fields(path: str) -> str:
    """`path` if the server can look for it by an index; raises ValueError."""
    parts = path.split(".")
    if any(not part or part.startswith("$") or part.isdecimal() or "\0" in part for part in parts):
        message = "should be names of fields apart by dots, none of them empty, a number, or beginning with $"
        raise ValueError(message)
    return path


Place = Annotated[Dotted, AfterValidator(_path_of_fields)]
"""The path of a field that rows are found by."""


class Collection(_Section):
    """A collection that Touchstone did not make, to be watched as its own are."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
    """What the dataset is called here."""
    collection: Annotated[str, Field(pattern=r"^[^$.\x00]([^$\x00]*[^$.\x00])?$", max_length=200)]
    database: Annotated[str, Field(pattern=r'^[^/\\. "$*<>:|?\x00]{1,63}$')] | None = None
    """Absent: the one that the `uri` names; without a `uri` the one that Touchstone uses."""
    uri: Annotated[SecretStr | None, BeforeValidator(_unset_if_blank)] = None
    """Absent: the server that Touchstone uses."""
    time: Place
    """Its event time: a date, decides the window."""
    key: Place = "_id"
    scope: Place | None = None
    """The field whose values are judged apart, e.g. a service; absent: all rows together."""
    delay_hours: Annotated[float, Field(ge=0, le=87_600)] = 0.0
    """How long after its end a window may still grow."""
    rules: tuple[Rule, ...] = ()
    fields: tuple[Dotted, ...] = ()
    numeric: tuple[Dotted, ...] = ()
    categorical: tuple[Dotted, ...] = ()

    @model_validator(mode="after")
    def _names_are_its_own(self) -> "Collection":
        if self.name.startswith(RESERVED) or self.name == catalog.SWEEP:
            message = (
                f"name: {self.name!r} may not be sweep, or begin with {', '.join(RESERVED)}: those are Touchstone's own"
            )
            raise ValueError(message)
        rules = [rule.name for rule in self.rules]
        if twice := {name for name in rules if rules.count(name) > 1}:
            message = f"rules: two rules are named {min(twice)!r}; give each its own name"
            raise ValueError(message)
        return self

    def suite(self) -> Suite:
        """What is declared of its rows."""
        return Suite(
            dataset=self.name, rules=self.rules, fields=self.fields, numeric=self.numeric, categorical=self.categorical
        )


class Quality(_Section):
    """How data is checked."""

    checks: bool = True
    """False: nothing is measured or judged, for a comparison only."""
    examples: Annotated[int, Field(ge=0, le=100)] = 5
    """How many broken rows a finding shows; all of them are in the quarantine."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """After how long a check on one chunk counts as broken."""


def _is_safe_url(url: str) -> str:
    """`url` with a slash at its end, if what is sent there is not sent in the clear; raises ValueError."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        message = "should be an https:// address; http:// only on loopback"
        raise ValueError(message)
    return url if url.endswith("/") else f"{url}/"


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


class Slack(_Section):
    """Where incidents are told. Without a token or webhook nobody is told, and incidents are only kept."""

    base_url: Annotated[str, AfterValidator(_is_safe_url)] = "https://slack.com/api/"
    channel: str | None = None
    """Name ("#data-quality") or id of the channel that no route takes an incident from."""
    token: Annotated[SecretStr | None, BeforeValidator(_unset_if_blank)] = None
    """The bot's token; better as SLACK_BOT_TOKEN or in `token_file`."""
    token_file: Path | None = None
    webhook_url: Annotated[SecretStr | None, BeforeValidator(_unset_if_blank)] = None
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


class Route(_Section):
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


class Team(_Section):
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


def _has_holidays(place: str) -> str:
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


class Schedule(_Section):
    """When the windows of a dataset must be complete."""

    dataset: Annotated[str, Field(min_length=1)]
    scopes: tuple[str, ...] = ()
    """Empty: each that the dataset has."""
    cron: Annotated[str, AfterValidator(_is_cron)]
    """Five fields; at each of its times all windows that have ended by then must be complete."""
    timezone: Zone = "UTC"
    grace_minutes: Annotated[float, Field(ge=0, le=10_080)] = 0.0
    holidays: Annotated[str, AfterValidator(_has_holidays)] | None = None
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


class Notifier(_Section):
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
    deadman_url: Annotated[SecretStr | None, BeforeValidator(_unset_if_blank)] = None
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


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix="TOUCHSTONE_", env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    mongo: Mongo = Mongo()
    sources: tuple[Annotated[Replay | Git, Field(discriminator="type")], ...] = ()
    privacy: Privacy = Privacy()
    pipeline: Pipeline = Pipeline()
    scheduler: Scheduler = Scheduler()
    quality: Quality = Quality()
    suites: tuple[Suite, ...] = ()
    datasets: tuple[Collection, ...] = ()
    slack: Slack = Slack()
    routes: tuple[Route, ...] = ()
    teams: tuple[Team, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    notifier: Notifier = Notifier()
    state: Path = Path(".touchstone")
    """Folder for the embedded server's data, mirrors of repositories and keys."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Settings":
        for what in ("sources", "datasets", "teams"):
            names = [one.name for one in getattr(self, what)]
            if twice := {name for name in names if names.count(name) > 1}:
                message = f"two {what} are named {min(twice)!r}; give each [[{what}]] its own name"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _routes_agree(self) -> "Settings":
        teams = {team.name for team in self.teams}
        digests: dict[str, tuple[str, str]] = {}
        for number, route in enumerate(self.routes):
            if route.team is not None and route.team not in teams:
                message = f"routes.{number}.team: there is no [[teams]] of the name {route.team!r}"
                raise ValueError(message)
            if route.digest is not None:
                mine = (route.digest, route.timezone)
                if digests.setdefault(route.channel, mine) != mine:
                    message = f"routes.{number}.digest: {route.channel!r} has a digest at another time already"
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _schedules_are_of_datasets(self) -> "Settings":
        own = {dataset.name for dataset in (*catalog.ENTITIES, catalog.DORA_DAILY)}
        known = own | {dataset.name for dataset in self.datasets}
        for number, schedule in enumerate(self.schedules):
            name = schedule.dataset
            if name not in known and not re.fullmatch(r"bronze\.[^.*]+\.[^*]+", name):
                message = f"schedules.{number}.dataset: there is no dataset {name!r}; there are"
                raise ValueError(f"{message} {', '.join(sorted(known))} and bronze.<source>.<stream>")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes in as init arguments."""
        return EnvSettingsSource(settings_cls), init_settings

    @property
    def config_file(self) -> Path | None:
        """Where the file was found, if there is one."""
        path = config_path()
        return path if path.exists() else None


def config_path() -> Path:
    """The file that `load` reads, whether it exists or not."""
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_NAME).absolute()


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process.

    Raises ConfigError for a named file that is missing, unreadable TOML, unknown keys and wrong types.
    """
    path = config_path()
    if path.is_file():
        document = _read(path)
    elif os.environ.get(CONFIG_VARIABLE):
        raise ConfigError(f"{path}: no such file (from --config or {CONFIG_VARIABLE})")
    else:
        document = {}
    try:
        settings = Settings(**document)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(detail, document, path) for detail in error.errors())) from None
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from None
    return _absolute(settings, path.parent)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _explain(detail: Any, document: dict[str, Any], path: Path) -> str:
    keys = [part for part in detail["loc"] if part not in ("replay", "git")]
    name = ".".join(str(key) for key in keys) or "(whole file)"
    place: Any = document
    for key in keys[:1]:
        place = document.get(key) if isinstance(document, dict) else None
    variable = f"TOUCHSTONE_{'_'.join(str(key) for key in keys[:2])}".upper()
    where = f"environment variable {variable}" if variable in os.environ else str(path)
    if place is None and where == str(path) and not path.exists():
        where = "environment"
    what = "unknown key" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
    return f"{where}: {name}: {what} (see {EXAMPLE.name} for what there is)"


def _absolute(settings: Settings, folder: Path) -> Settings:
    sources = tuple(
        source.model_copy(update={"paths": tuple(str(folder / path) for path in source.paths)})
        if isinstance(source, Replay)
        else source.model_copy(update={"repositories": tuple(_located(r, folder) for r in source.repositories)})
        for source in settings.sources
    )
    slack = settings.slack
    if slack.token_file is not None:
        slack = slack.model_copy(update={"token_file": folder / slack.token_file})
    return settings.model_copy(update={"sources": sources, "slack": slack, "state": folder / settings.state})


def _located(repository: Repository, folder: Path) -> Repository:
    local = folder / repository.url
    return repository.model_copy(update={"url": str(local)}) if local.exists() else repository


__all__ = [
    "CONFIG_VARIABLE", "Collection", "ConfigError", "Git", "Notifier", "Quality", "Replay", "Repository", "Route",
    "Rule", "Schedule", "Settings", "Slack", "Suite", "Team", "config_path", "load",
]  # fmt: skip
