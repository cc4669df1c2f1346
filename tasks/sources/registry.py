"""From the configuration to the sources it names."""

import os
import secrets
from pathlib import Path

from config.settings import ConfigError, Git, GitHub, Jenkins, Jira, Replay, Settings
from config.sources import AnySource
from tasks.sources.contract import Source
from tasks.sources.replay import ReplaySource


def configured(settings: Settings) -> list[Source]:
    """The sources of `settings`, in its order. Raises ConfigError if there are none, nor datasets to be watched."""
    if not settings.sources and not settings.datasets:
        raise ConfigError(
            f"{settings.config_file or 'no touchstone.toml here'}: sources: none configured, and no datasets; "
            "copy config/touchstone.example.toml to touchstone.toml and name one"
        )
    return [connector(source, settings) for source in settings.sources]


def connector(source: AnySource, settings: Settings) -> Source:
    """A connector is imported only where there is one of its kind."""
    match source:
        case Replay():
            return ReplaySource(source.name, source.paths)
        case Git():
            return _git(source, settings)
        case GitHub():
            from tasks.sources.github.source import GitHubSource  # noqa: PLC0415

            return GitHubSource(source, pseudonym_key(settings))
        case Jira():
            from tasks.sources.jira.source import JiraSource  # noqa: PLC0415

            return JiraSource(source, pseudonym_key(settings))
        case Jenkins():
            from tasks.sources.jenkins.source import JenkinsSource  # noqa: PLC0415

            return JenkinsSource(source, pseudonym_key(settings))


def _git(source: Git, settings: Settings) -> Source:
    from tasks.sources import git  # noqa: PLC0415 - only where there is one

    return git.GitSource(
        source.name,
        [git.Repository(one.origin, one.url) for one in source.repositories],
        cache=settings.state / "git",
        pseudonym_key=pseudonym_key(settings),
        timeout_seconds=source.timeout_seconds,
    )


def pseudonym_key(settings: Settings) -> bytes | None:
    """The configured key, else one that is made once and kept beside the data, readable by its owner only."""
    if not settings.privacy.pseudonymise:
        return None
    if settings.privacy.pseudonym_key:
        return settings.privacy.pseudonym_key.get_secret_value().encode()
    path = Path(settings.state) / "pseudonym.key"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            os.link(draft, path)  # the first one wins; nobody ever reads half a key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return bytes.fromhex(path.read_text(encoding="ascii"))
