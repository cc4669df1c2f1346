"""Tokens of an installation of a GitHub App: asked for with a signed proof, and kept until shortly before they expire.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import jwt

from config.section import ConfigError
from config.sources import App, read_secret
from tasks.sources.contract import SourceError
from tasks.sources.http import Http, Trace

_EARLY: Final = timedelta(minutes=5)
"""So long before it expires a token is replaced."""
_BACK: Final = timedelta(seconds=60)
"""A proof is dated back, for GitHub refuses one that seems to come from the future."""
_VALID: Final = timedelta(minutes=9)
"""GitHub takes proofs of at most ten minutes."""


class AppTokens:
    """The present token of one installation. Safe to use from several threads."""

    def __init__(
        self, app: App, client: Callable[[Callable[[], Mapping[str, str]]], Http], clock: Callable[[], datetime]
    ) -> None:
        """client: makes one from the function that gives its credential's headers."""
        self._app, self._client, self._clock = app, client, clock
        self._lock = threading.Lock()
        self._token = ""
        self._expires: datetime | None = None

    def __repr__(self) -> str:
        """Without the token."""
        return f"AppTokens({self._app.id}, {self._app.installation})"

    def token(self) -> str:
        """One that is valid for some minutes at least. Raises SourceError or ConfigError if there is none."""
        with self._lock:  # whoever comes meanwhile waits for the same token
            if self._expires is None or self._clock() >= self._expires - _EARLY:
                self._renew()
            return self._token

    def _renew(self) -> None:
        path = f"app/installations/{self._app.installation}/access_tokens"
        with self._client(self._proof) as http:
            answer = http.post(path, {}, trace=Trace("token"))
        content = answer.content if isinstance(answer.content, Mapping) else {}
        try:
            token, expires = str(content["token"]), _aware(content["expires_at"])
        except (KeyError, ValueError, TypeError):
            raise SourceError(f"{answer.place}: answered without a token and when it expires: check base_url") from None
        self._token, self._expires = token, expires

    def _proof(self) -> Mapping[str, str]:
        """Headers with a proof that we hold the App's key, which is read each time and kept nowhere."""
        now = self._clock()
        claims = {"iss": self._app.id, "iat": int((now - _BACK).timestamp()), "exp": int((now + _VALID).timestamp())}
        key = read_secret(self._app.key_file, "app.key_file")
        try:
            proof = jwt.encode(claims, key, algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            raise ConfigError(f"app.key_file: {self._app.key_file} holds no private key of RSA in PEM") from None
        return {"authorization": f"Bearer {proof}"}


def _aware(text: Any) -> datetime:
    date = datetime.fromisoformat(text)
    if date.tzinfo is None:
        raise ValueError("no time zone")
    return date
