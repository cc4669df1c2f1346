"""How GitHub is reached: its client, what a token may do, and the names of things in addresses."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from config.sources import GitHub
from tasks.sources.contract import SourceError
from tasks.sources.github.tokens import AppTokens
from tasks.sources.http import Answer, Http, Limits

ACCEPT: Final = "application/vnd.github+json"
_VERSION: Final = {"x-github-api-version": "2022-11-28"}
_IMPLIED: Final = {
    "repo": ("public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events"),
}
"""Scopes of classic tokens that others include."""


def now() -> datetime:
    """By the clock of this machine."""
    return datetime.now(UTC)


def connect(section: GitHub, clock: Callable[[], datetime] = now, sleep: Callable[[float], None] = time.sleep) -> Http:
    """A client of the API. Raises SourceError where there is no credential, ConfigError where it cannot be read."""
    bounds = Limits.of(section.requests)
    base = section.base_url if section.base_url.endswith("/") else f"{section.base_url}/"
    if section.app is not None:
        app = section.app
        issued = AppTokens(app, lambda authorise: Http(
            base, authorise=authorise, limits=bounds, accept=ACCEPT, identity=f"app {app.id}", clock=clock, sleep=sleep
        ), clock)  # fmt: skip
        return Http(
            base, authorise=lambda: _headers(issued.token()), limits=bounds, accept=ACCEPT,
            identity=f"app {app.id}, installation {app.installation}", clock=clock, sleep=sleep,
        )  # fmt: skip
    token = section.secret()
    if not token:
        raise SourceError(f"{section.name}: no token: set {section.variable}, or token_file of this source")
    return Http(base, authorise=lambda: _headers(token), limits=bounds, accept=ACCEPT, clock=clock, sleep=sleep)


def _headers(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}", **_VERSION}


def scopes(answer: Answer) -> tuple[str, ...] | None:
    """What a classic token may do, implied scopes included; None for others, which do not tell."""
    told = answer.headers.get("x-oauth-scopes")
    if told is None:
        return None
    named = {scope.strip() for scope in told.split(",")} - {""}
    return tuple(sorted(named.union(*(_IMPLIED.get(scope, ()) for scope in named))))
