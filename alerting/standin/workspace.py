"""The stand-in's memory: channels, messages, threads and files, and what each method does with them.

A method takes its arguments and returns what the answer holds; `Refused` is an answer with `ok: false`.
"""

import secrets
import time
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alerting.standin.rules import refusal

Arguments = Mapping[str, Any]
Answer = dict[str, Any]

SCOPES: Final[Mapping[str, str]] = {
    "chat.postMessage": "chat:write", "chat.update": "chat:write", "conversations.history": "channels:history",
    "conversations.replies": "channels:history", "conversations.list": "channels:read",
    "files.getUploadURLExternal": "files:write", "files.completeUploadExternal": "files:write",
}  # fmt: skip
BOT: Final = {"bot_id": "B0STANDIN", "user": "U0STANDIN", "app_id": "A0STANDIN"}
MOST: Final = 999
"""Entries a page."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """`ok: false` with this code."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer: Answer = {"ok": False, "error": code, **more}


@dataclass(slots=True)
class File:
    """An uploaded file."""

    id: str
    name: str
    title: str = ""
    content: bytes = b""


@dataclass(slots=True)
class Message:
    """One message as it stands now."""

    channel: str
    """The id."""
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    arrived: float
    """Epoch seconds."""
    thread_ts: str | None = None
    """Of the root, if it is a reply."""
    broadcast: bool = False
    """A reply that is shown in the channel too."""
    edited_at: float | None = None
    versions: list[dict[str, Any]] = field(default_factory=list)
    """Text, blocks and metadata as they were before each edit, oldest first."""
    files: list[File] = field(default_factory=list)


@dataclass(slots=True)
class Channel:
    """One channel; its messages are in order of `ts`."""

    id: str
    name: str
    archived: bool = False
    private: bool = False
    member: bool = True
    shown: list[Message] = field(default_factory=list)
    """What the channel shows: roots, and replies that are broadcast."""
    replies: dict[str, list[Message]] = field(default_factory=dict)
    by_ts: dict[str, Message] = field(default_factory=dict)


class Workspace:
    """All that the stand-in remembers. Not thread-safe: the server sees to that."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.channels: dict[str, Channel] = {}
        self.scopes: set[str] = {*SCOPES.values()}
        self.uploads: dict[str, File] = {}
        self.files_url = ""
        """Below which files are uploaded."""
        self._last = 0
        self._methods: dict[str, Callable[[Arguments], Answer]] = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.list": self._list,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete,
            "auth.test": lambda _: {"url": "https://standin.slack.com/", "team": "Stand-in", "user": "touchstone",
                                    "team_id": "T0STANDIN", "user_id": BOT["user"], "bot_id": BOT["bot_id"]},
        }  # fmt: skip

    def add_channel(self, name: str, *, archived: bool = False, private: bool = False, member: bool = True) -> str:
        """Make a channel; returns its id."""
        plain = name.removeprefix("#")
        channel = Channel(f"C{secrets.token_hex(5).upper()}", plain, archived, private, member)
        self.channels[channel.id] = channel
        return channel.id

    def channel(self, name: Any) -> Channel:
        """The channel of that id or name. Raises Refused."""
        if isinstance(name, str) and name in self.channels:
            return self.channels[name]
        plain = str(name).removeprefix("#")
        for channel in self.channels.values():
            if channel.name == plain:
                return channel
        raise Refused("channel_not_found")

    def call(self, method: str, arguments: Arguments) -> Answer:
        """What the method answers. Raises Refused."""
        act = self._methods.get(method)
        if act is None:
            raise Refused("unknown_method", req_method=method)
        if (needed := SCOPES.get(method)) and needed not in self.scopes:
            raise Refused("missing_scope", needed=needed, provided=",".join(sorted(self.scopes)))
        return {"ok": True, **act(arguments)}

    def add(self, channel: Channel, payload: Arguments) -> Message:
        """Keep a message that has been found good."""
        now = time.time()
        self._last = max(self._last + 1, int(now * 1_000_000))
        ts = f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"
        thread, loud = payload.get("thread_ts"), bool(payload.get("reply_broadcast"))
        message = Message(channel.id, ts, str(payload.get("text") or ""), list(payload.get("blocks") or ()),
                          payload.get("metadata"), now, thread, bool(thread) and loud)  # fmt: skip
        self.messages.append(message)
        channel.by_ts[ts] = message
        if thread:
            channel.replies.setdefault(thread, []).append(message)
        if not thread or loud:
            channel.shown.append(message)
        return message

    def _writable(self, arguments: Arguments) -> Channel:
        channel = self.channel(arguments.get("channel") or arguments.get("channel_id"))
        if channel.archived:
            raise Refused("is_archived")
        if not channel.member:
            raise Refused("not_in_channel")
        return channel

    def _post(self, arguments: Arguments) -> Answer:
        channel = self._writable(arguments)
        if code := refusal(arguments):
            raise Refused(code)
        if (thread := arguments.get("thread_ts")) and self._root(channel, thread).thread_ts:
            raise Refused("cannot_reply_to_message")
        message = self.add(channel, arguments)
        return {"channel": channel.id, "ts": message.ts, "message": self._shown(message, whole=True)}

    def _root(self, channel: Channel, ts: Any) -> Message:
        if (message := channel.by_ts.get(str(ts))) is None:
            raise Refused("thread_not_found")
        return message

    def _update(self, arguments: Arguments) -> Answer:
        channel = self._writable(arguments)
        if arguments.get("channel") != channel.id:
            raise Refused("channel_not_found")  # a name is not taken here
        if (message := channel.by_ts.get(str(arguments.get("ts")))) is None:
            raise Refused("message_not_found")
        after = {"text": message.text, "blocks": message.blocks, "metadata": message.metadata}
        kept = {key: arguments[key] for key in after if arguments.get(key) is not None}
        if code := refusal(after | kept):
            raise Refused(code)
        message.versions.append(after)
        message.edited_at = time.time()
        message.text, message.blocks, message.metadata = (after | kept).values()
        return {"channel": channel.id, "ts": message.ts, "text": message.text}

    def _readable(self, arguments: Arguments) -> Channel:
        channel = self.channel(arguments.get("channel"))
        if arguments.get("channel") != channel.id:
            raise Refused("channel_not_found")
        if not channel.member:
            raise Refused("not_in_channel")
        return channel

    def _history(self, arguments: Arguments) -> Answer:
        channel = self._readable(arguments)
        found = self._between(channel.shown, arguments)
        size = self._size(arguments)
        page = found[::-1][:size]
        more = len(found) > size
        return {**self._page(page, arguments, more=more), "has_more": more}

    def _replies(self, arguments: Arguments) -> Answer:
        channel = self._readable(arguments)
        root = self._root(channel, arguments.get("ts"))
        found = self._between(channel.replies.get(root.ts, []), arguments, forward=True)
        size = self._size(arguments)
        page, more = found[:size], len(found) > size
        return {**self._page([root, *page], arguments, more=more), "has_more": more}

    def _between(self, messages: list[Message], arguments: Arguments, *, forward: bool = False) -> list[Message]:
        oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "9" * 10)
        cut = bisect_left if arguments.get("inclusive") in (True, "1", "true", 1) else bisect_right
        first = cut(messages, float(oldest), key=lambda one: float(one.ts))
        last = bisect_right(messages, float(latest), key=lambda one: float(one.ts))
        if cursor := arguments.get("cursor"):
            ts = float(_decoded(str(cursor)))
            if forward:
                first = max(first, bisect_right(messages, ts, key=lambda one: float(one.ts)))
            else:
                last = min(last, bisect_left(messages, ts, key=lambda one: float(one.ts)))
        return messages[first:last]

    def _page(self, page: list[Message], arguments: Arguments, *, more: bool) -> Answer:
        whole = arguments.get("include_all_metadata") in (True, "1", "true", 1)
        cursor = b64encode(f"next_ts:{page[-1].ts}".encode()).decode() if more else ""
        return {
            "messages": [self._shown(one, whole=whole) for one in page],
            "response_metadata": {"next_cursor": cursor},
        }

    def _size(self, arguments: Arguments) -> int:
        size = int(arguments.get("limit") or 100)
        if not 1 <= size <= MOST:
            raise Refused("invalid_limit")
        return size

    def _shown(self, message: Message, *, whole: bool) -> Answer:
        shown: Answer = {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks, **BOT}
        if message.thread_ts:
            shown |= {"thread_ts": message.thread_ts} | ({"subtype": "thread_broadcast"} if message.broadcast else {})
        if message.metadata is not None:
            shown["metadata"] = message.metadata if whole else {"event_type": message.metadata["event_type"]}
        return shown | ({"edited": {"user": BOT["user"], "ts": message.ts}} if message.edited_at else {})

    def _list(self, arguments: Arguments) -> Answer:
        wanted = str(arguments.get("types") or "public_channel").split(",")
        if "private_channel" in wanted and "groups:read" not in self.scopes:
            raise Refused("missing_scope", needed="groups:read", provided=",".join(sorted(self.scopes)))
        hidden = arguments.get("exclude_archived") in (True, "1", "true", 1)
        known = sorted(self.channels.values(), key=lambda one: one.id)
        seen = [one for one in known if ("private_channel" if one.private else "public_channel") in wanted]
        seen = [one for one in seen if not (one.archived and hidden) and (one.member or not one.private)]
        first = int(_decoded(str(arguments["cursor"]))) if arguments.get("cursor") else 0
        size = self._size(arguments)
        cursor = b64encode(f"at:{first + size}".encode()).decode() if first + size < len(seen) else ""
        page = [{"id": one.id, "name": one.name, "is_private": one.private, "is_member": one.member,
                 "is_archived": one.archived} for one in seen[first : first + size]]  # fmt: skip
        return {"channels": page, "response_metadata": {"next_cursor": cursor}}

    def _upload_url(self, arguments: Arguments) -> Answer:
        name, length = arguments.get("filename"), arguments.get("length")
        if not name or not length or int(length) < 1:
            raise Refused("invalid_arguments")
        file = File(f"F{secrets.token_hex(5).upper()}", str(name))
        self.uploads[file.id] = file
        return {"upload_url": f"{self.files_url}{file.id}", "file_id": file.id}

    def _complete(self, arguments: Arguments) -> Answer:
        files = [self.uploads.get(str(one.get("id"))) for one in arguments.get("files") or ()]
        if not files or not all(file and file.content for file in files):
            raise Refused("file_not_found")
        titles = [str(one.get("title") or "") for one in arguments["files"]]
        known = [file for file in files if file]
        for file, title in zip(known, titles, strict=True):
            file.title = title
            del self.uploads[file.id]
        if arguments.get("channel_id"):
            channel = self._writable(arguments)
            if thread := arguments.get("thread_ts"):
                self._root(channel, thread)
            said = {"thread_ts": thread, "text": arguments.get("initial_comment")}
            self.add(channel, said).files.extend(known)
        return {"files": [{"id": file.id, "title": file.title} for file in known]}


def _decoded(cursor: str) -> str:
    try:
        return b64decode(cursor, validate=True).decode().partition(":")[2]
    except ValueError:
        raise Refused("invalid_cursor") from None
