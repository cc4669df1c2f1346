"""Slack's Web API, or an incoming webhook, as far as incidents need it. Each call is tried once: who calls decides.

Every failure is a DeliveryError that says whether the message may have arrived. Nothing that is raised, logged or shown
holds a token or the address of a webhook.
"""

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError

from alerting.slack import text as say
from alerting.slack import transport
from alerting.slack.blocks import EVENT, Payload
from alerting.slack.errors import LIMITED, DeliveryError, of_code, of_status
from config.settings import ConfigError, Slack

SCOPES: Final[Mapping[str, str]] = {
    "chat:write": "post and edit messages",
    "channels:history": "look whether a message has arrived (public channels)",
    "channels:read": "find a channel by its name (public channels)",
    "files:write": "charts",
}
"""What the bot needs, and what for."""
PRIVATE: Final[Mapping[str, str]] = {
    "groups:history": "look whether a message has arrived (private channels)",
    "groups:read": "find a channel by its name (private channels)",
}
"""What it needs besides if a channel is private."""
SKEW: Final = timedelta(minutes=1)
"""How far Slack's clock and ours may be apart."""
TITLE: Final = 150
"""Characters of a picture's title."""
PAGE: Final = 200
"""Messages a page of history; Slack recommends no more."""
PATIENCE: Final = 30.0
"""Seconds that are waited between the pages of one list, in all."""
LEAST_WAIT: Final = 0.1
"""Seconds."""
EDITED: Final = ("text", "metadata", "parse", "link_names")
"""What chat.update takes of a payload, besides its blocks."""
_ID: Final = re.compile(r"[CDG][A-Z0-9]{6,}")
_SECRET: Final = re.compile(r"[!-~]+")
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a message is."""

    channel: str
    """The id."""
    ts: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are in Slack, and what we may do."""

    team: str
    user: str
    scopes: tuple[str, ...]
    missing: tuple[str, ...]
    """Of SCOPES."""


class _Web(WebClient):
    """slack_sdk's client over our own transport: no redirects, and a failure tells what it means."""

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        body = req.data if isinstance(req.data, bytes) else b""
        answer = transport.post(url, body, dict(req.header_items()), self.timeout)
        text = answer.body.decode("utf-8", "replace")
        if not text.lstrip().startswith("{"):
            raise of_status(answer.status, answer.headers.get("retry-after"))
        return {"status": answer.status, "headers": answer.headers, "body": text}


class Client:
    """One notifier's way to Slack. Thread-safe; connects with each call, and not before."""

    def __init__(self, slack: Slack) -> None:
        """Take the bot's token if there is one, else the webhook. Raises ConfigError without either, or if unusable."""
        token = slack.secret()
        self._timeout = slack.timeout_seconds
        self._base = slack.base_url
        self._web: _Web | None = None
        self._webhook = ""
        self._ids: dict[str, str] = {}
        if token is not None:
            if not _SECRET.fullmatch(token):
                raise ConfigError("slack.token: it holds characters that no token has, e.g. a blank or a line feed")
            quiet = logging.getLogger("alerting.slack.sdk")
            quiet.setLevel(logging.CRITICAL)  # it would write whole messages, and errors twice
            self._web = _Web(token, base_url=self._base, retry_handlers=[], logger=quiet)
            self._web.timeout = self._timeout  # type: ignore[assignment] # declared int, handed to the socket
        elif slack.webhook_url is not None:
            self._webhook = slack.webhook_url.get_secret_value()
            if not _SECRET.fullmatch(self._webhook) or not transport.is_safe(self._webhook):
                raise ConfigError("slack.webhook_url: should be an https:// address; http:// only on loopback")
        else:
            raise ConfigError("slack: neither a token nor a webhook_url is configured")

    @property
    def can_edit(self) -> bool:
        """Whether messages can be edited, answered in threads and looked for: a webhook can only post."""
        return self._web is not None

    def post(self, channel: str, payload: Payload, thread_ts: str | None = None) -> Posted:
        """Post `payload` to `channel` (an id, or "#name"), into a thread if one is given. Raises DeliveryError."""
        if self._web is None:
            self._send(payload)
            return Posted("webhook", "")
        thread = {"thread_ts": thread_ts} if thread_ts else {"reply_broadcast": None}
        body = {"channel": self._ids.get(channel, channel), **payload, **thread}
        answer = self._call("chat.postMessage", json={key: value for key, value in body.items() if value is not None})
        where, ts = answer.get("channel"), answer.get("ts")
        if not isinstance(where, str) or not isinstance(ts, str):
            raise DeliveryError("no_ts", doubt=True)
        self._ids[channel] = where
        return Posted(where, ts)

    def update(self, posted: Posted, payload: Payload) -> None:
        """Make `payload` of the message. Raises DeliveryError."""
        kept = {key: payload[key] for key in EDITED if key in payload}
        blocks = payload.get("blocks", [])  # without them Slack would keep those that are there
        self._call("chat.update", json={"channel": posted.channel, "ts": posted.ts, "blocks": blocks, **kept})

    def posted(self, channel: str, since: datetime, thread_ts: str | None = None) -> dict[tuple[str, int, str], Posted]:
        """What of ours stands in `channel`, or in a thread of it, since then: (incident, revision, part) -> where.

        Of two with one key the older. Raises DeliveryError.
        """
        where = self._id_of(channel)
        asked: dict[str, Any] = {"channel": where, "oldest": f"{(since - SKEW).timestamp():.6f}", "limit": PAGE}
        asked |= {"inclusive": True, "include_all_metadata": True}
        method = "conversations.replies" if thread_ts else "conversations.history"
        pages = self._pages(method, "messages", asked | ({"ts": thread_ts} if thread_ts else {}))
        found: dict[tuple[str, int, str], Posted] = {}
        for message in sorted(pages, key=lambda one: str(one.get("ts", ""))):
            if (key := _key(message)) is not None:
                found.setdefault(key, Posted(where, str(message["ts"])))
        return found

    def upload(self, posted: Posted, name: str, title: str, png: bytes) -> None:
        """Put a picture into the thread of `posted`. Raises DeliveryError."""
        title = " ".join(say.seen(title[:TITLE]).split())
        asked = {"filename": name, "length": len(png), "alt_txt": title}
        place = self._call("files.getUploadURLExternal", params=asked)
        url, file = place.get("upload_url"), place.get("file_id")
        if not isinstance(url, str) or not isinstance(file, str) or not self._is_slack(url):
            raise DeliveryError("upload_url_elsewhere", permanent=True)
        answer = transport.post(url, png, {"Content-Type": "image/png"}, self._timeout)
        if answer.status != _OK:
            raise of_status(answer.status, answer.headers.get("retry-after"))
        done = {"files": [{"id": file, "title": title}], "channel_id": posted.channel, "thread_ts": posted.ts}
        self._call("files.completeUploadExternal", json=done)

    def identity(self) -> Identity:
        """Who Slack says that we are, and what we may do. Raises DeliveryError; a webhook has no identity."""
        answer = self._call("auth.test")
        told = answer.get("x-oauth-scopes") or ""
        scopes = tuple(sorted(one.strip() for one in told.split(",") if one.strip()))
        missing = tuple(scope for scope in SCOPES if scope not in scopes)
        return Identity(str(answer.get("team", "")), str(answer.get("user", "")), scopes, missing)

    def _call(self, method: str, **how: Any) -> dict[str, Any]:
        """One call; its answer, and the granted scopes from its header."""
        if self._web is None:
            raise DeliveryError("not_allowed_with_webhook", permanent=True)
        try:
            answer = self._web.api_call(method, **how)
        except SlackApiError as error:
            status, headers = error.response.status_code, error.response.headers
            failed = of_code(error.response.get("error"), status, headers.get("retry-after"))
        except SlackRequestError:
            failed = DeliveryError("invalid_request", permanent=True)
        except (ValueError, RecursionError):
            failed = DeliveryError("unreadable_answer", doubt=True)
        else:
            return {**_dictionary(answer.data), "x-oauth-scopes": answer.headers.get("x-oauth-scopes")}
        raise failed  # out here, so that it does not carry slack_sdk's own, which holds the request

    def _send(self, payload: Payload) -> None:
        """Post by the webhook, which answers with a bare word."""
        known = ("text", "blocks", "metadata", "unfurl_links", "unfurl_media")
        body = json.dumps({key: payload[key] for key in known if key in payload}).encode()
        answer = transport.post(self._webhook, body, {"Content-Type": "application/json"}, self._timeout)
        word, later = answer.body[:100].decode("utf-8", "replace").strip(), answer.headers.get("retry-after")
        if answer.status != _OK:
            raise of_code(word, answer.status, later)
        if word != "ok":
            raise of_status(answer.status, later)

    def _id_of(self, channel: str) -> str:
        """The id of a channel, which is all that some methods take."""
        if _ID.fullmatch(channel):
            return channel
        if channel not in self._ids:
            self._ids.update(self._listed())
        if channel not in self._ids:
            raise DeliveryError("channel_not_found", permanent=True)
        return self._ids[channel]

    def _listed(self) -> dict[str, str]:
        """The channels that we may see by name, private ones if we may."""
        asked = {"exclude_archived": True, "limit": PAGE, "types": "public_channel,private_channel"}
        try:
            channels = list(self._pages("conversations.list", "channels", asked))
        except DeliveryError as error:
            if error.code != "missing_scope":
                raise
            channels = list(self._pages("conversations.list", "channels", asked | {"types": "public_channel"}))
        return {f"{sign}{one['name']}": one["id"] for one in channels for sign in ("", "#")}

    def _pages(self, method: str, of: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All entries of all pages. Told in the middle that it is too fast, it waits, and goes on where it was."""
        cursor, seen, patience = "", {""}, PATIENCE
        while True:
            try:
                answer = self._call(method, params={**asked, **({"cursor": cursor} if cursor else {})})
            except DeliveryError as error:
                wait = max(error.retry_after or 0.0, LEAST_WAIT)
                if error.code not in LIMITED or not cursor or wait > patience:
                    raise
                patience -= wait
                time.sleep(wait)
                continue
            yield from (one for one in answer.get(of) or () if isinstance(one, dict))
            cursor = str(_dictionary(answer.get("response_metadata")).get("next_cursor") or "")
            if cursor in seen:
                return
            seen.add(cursor)

    def _is_slack(self, url: str) -> bool:
        """Whether it is where we were told Slack is: the same host and port, or by https a host below it."""
        here, there = urlsplit(self._base), urlsplit(url)
        if (there.scheme, there.netloc) == (here.scheme, here.netloc):
            return True
        return there.scheme == "https" and (there.hostname or "").endswith(f".{here.hostname}") and "@" not in url


def _key(message: Mapping[str, Any]) -> tuple[str, int, str] | None:
    """The key that a message of ours carries."""
    metadata = _dictionary(message.get("metadata"))
    carried = _dictionary(metadata.get("event_payload"))
    name, revision, part = carried.get("incident"), carried.get("revision"), carried.get("part")
    if metadata.get("event_type") != EVENT or not isinstance(name, str) or not isinstance(part, str):
        return None
    return (name, revision, part) if isinstance(revision, int) and "ts" in message else None


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


__all__ = ["PRIVATE", "SCOPES", "Client", "DeliveryError", "Identity", "Posted"]
