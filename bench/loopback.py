"""The stand-in for Slack in a process of its own, so that it takes no time from what is measured."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

from alerting.standin.faults import Call
from alerting.standin.server import StandIn
from alerting.standin.workspace import Message

PATIENCE_SECONDS: Final = 30.0
SAID: Final = ("chat.postMessage", "chat.update")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it stands now."""

    channel: str
    """Its name."""
    incident: str
    """Whose message it is, if it says so."""
    part: str
    blocks: str
    """All texts of its blocks."""


@dataclass(frozen=True, slots=True)
class Said:
    """One call that says something in a channel, whatever it is answered."""

    method: str
    channel: str
    """Its name."""
    about: str
    """The incident, if it says so, else the first word of the text."""
    at: float
    """When it came in: epoch seconds."""


class Loopback:
    """A workspace behind 127.0.0.1 until the end of the block."""

    def __init__(self, channels: Sequence[str], pace: float = 0.0) -> None:
        """pace: seconds between two messages to a channel, below which it answers 429."""
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, tuple(channels), pace), daemon=True)

    def __enter__(self) -> Self:
        """Serve."""
        self._process.start()
        self.base_url, self.token = self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Serve no more."""
        self._ours.send("end")
        self._process.join(PATIENCE_SECONDS)

    def messages(self) -> list[Arrival]:
        """All that there are, as they came."""
        return list(self._ask("messages"))

    def said(self) -> list[Said]:
        """All posts and edits that were asked for, in order, those that were refused too."""
        return list(self._ask("said"))

    def refused(self) -> int:
        """How many came faster than the pace."""
        return int(self._ask("refused"))

    def _ask(self, what: str) -> Any:
        self._ours.send(what)
        return self._answer()

    def _answer(self) -> Any:
        if not self._ours.poll(PATIENCE_SECONDS):
            raise TimeoutError("the stand-in does not answer")
        return self._ours.recv()


def _serve(parent: Connection, channels: tuple[str, ...], pace: float) -> None:
    said: list[tuple[float, Call]] = []

    def note(call: Call) -> None:
        if call.method in SAID:
            said.append((time.time(), call))

    with StandIn(channels=channels, pace=pace) as slack:
        slack.decide = note
        parent.send((slack.base_url, slack.token))

        def name(channel: str) -> str:
            return slack.name_of(channel) if channel in slack.workspace.channels else channel

        while True:
            try:
                asked = parent.recv()
            except EOFError:  # who started us is gone
                return
            match asked:
                case "messages":
                    parent.send([_arrival(one, name(one.channel)) for one in list(slack.messages)])
                case "said":
                    parent.send([_said(call, name(str(call.arguments.get("channel"))), at) for at, call in list(said)])
                case "refused":
                    parent.send(slack.violations)
                case _:
                    return


def _arrival(message: Message, channel: str) -> Arrival:
    key = (message.metadata or {}).get("event_payload", {})
    return Arrival(channel, str(key.get("incident", "")), str(key.get("part", "")), str(message.blocks))


def _said(call: Call, channel: str, at: float) -> Said:
    key = (call.arguments.get("metadata") or {}).get("event_payload", {})
    return Said(call.method, channel, str(key.get("incident") or str(call.arguments.get("text")).split()[0]), at)
