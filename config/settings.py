"""touchstone.toml and the environment become one frozen object; nothing else reads configuration.

A value is looked for in the environment first (`TOUCHSTONE_<SECTION>_<KEY>`, e.g. `TOUCHSTONE_MONGO_URI`), then in the
file named by `--config` or `TOUCHSTONE_CONFIG`, else `touchstone.toml` in the current folder. Relative paths in
the file are relative to the file. Every mistake is a `ConfigError` that names the key and the file.
"""

import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
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

from config import catalog, scopes
from config.alerts import Notifier, Route, Schedule, Slack, Team
from config.datasets import Collection, Rule, Suite
from config.detector import Detector
from config.section import ConfigError, Section, unset_if_blank
from config.services import Dora, Service
from config.sources import AnySource, App, Git, GitHub, Jenkins, Jira, Replay, Repository

CONFIG_VARIABLE = "TOUCHSTONE_CONFIG"
DEFAULT_NAME = "touchstone.toml"
EXAMPLE = Path(__file__).with_name("touchstone.example.toml")
_KINDS = ("replay", "git", "github", "jira", "jenkins")
"""Which kind of source a mistake is in is no key of the file."""


class Mongo(Section):
    """Which MongoDB. Without a URI the embedded one, for trying out."""

    uri: Annotated[SecretStr | None, BeforeValidator(unset_if_blank)] = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "touchstone"
    mongod: Path | None = None
    """The embedded server's program, where the packaged one does not fit."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0


class Privacy(Section):
    """What becomes of people's identities."""

    pseudonymise: bool = True
    pseudonym_key: SecretStr | None = None
    """Keys the hash; without it a random one is kept in the state folder."""


class Pipeline(Section):
    """How the work is cut."""

    chunk_windows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a worker that went silent keeps a partition from the others."""


class Scheduler(Section):
    """Luigi's central scheduler, if there is one."""

    url: str | None = None


class Quality(Section):
    """How data is checked."""

    checks: bool = True
    """False: nothing is measured or judged, for a comparison only."""
    examples: Annotated[int, Field(ge=0, le=100)] = 5
    """How many broken rows a finding shows; all of them are in the quarantine."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """After how long a check on one chunk counts as broken."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix="TOUCHSTONE_", env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    mongo: Mongo = Mongo()
    sources: tuple[AnySource, ...] = ()
    services: tuple[Service, ...] = ()
    dora: Dora = Dora()
    privacy: Privacy = Privacy()
    pipeline: Pipeline = Pipeline()
    scheduler: Scheduler = Scheduler()
    quality: Quality = Quality()
    detector: Detector = Detector()
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
        for what in ("sources", "services", "datasets", "teams"):
            names = [one.name for one in getattr(self, what)]
            if twice := {name for name in names if names.count(name) > 1}:
                message = f"two {what} are named {min(twice)!r}; give each [[{what}]] its own name"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _services_agree(self) -> "Settings":
        scopes.agree(self)
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
    keys = [part for part in detail["loc"] if part not in _KINDS]
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
    sources = tuple(_found(source, folder) for source in settings.sources)
    slack = settings.slack
    if slack.token_file is not None:
        slack = slack.model_copy(update={"token_file": folder / slack.token_file})
    return settings.model_copy(update={"sources": sources, "slack": slack, "state": folder / settings.state})


def _found(source: AnySource, folder: Path) -> AnySource:
    """`source` with its paths absolute."""
    match source:
        case Replay():
            return source.model_copy(update={"paths": tuple(str(folder / path) for path in source.paths)})
        case Git():
            return source.model_copy(update={"repositories": tuple(_located(r, folder) for r in source.repositories)})
    update: dict[str, Any] = {}
    if source.token_file is not None:
        update["token_file"] = folder / source.token_file
    if isinstance(source, GitHub) and source.app is not None:
        update["app"] = source.app.model_copy(update={"key_file": folder / source.app.key_file})
    return source.model_copy(update=update)


def _located(repository: Repository, folder: Path) -> Repository:
    local = folder / repository.url
    return repository.model_copy(update={"url": str(local)}) if local.exists() else repository


__all__ = [
    "CONFIG_VARIABLE", "App", "Collection", "ConfigError", "Detector", "Dora", "Git", "GitHub", "Jenkins", "Jira",
    "Notifier", "Quality", "Replay", "Repository", "Route", "Rule", "Schedule", "Service", "Settings", "Slack", "Suite",
    "Team", "config_path", "load",
]  # fmt: skip
