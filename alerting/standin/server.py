"""A stand-in for Slack on loopback: answers as its Web API and incoming webhooks do, and remembers everything.

`with StandIn() as slack:` serves until the block ends. What goes wrong is told beforehand: `fail` puts faults into a
queue, `decide` chooses one for each call. `settings()` is what a client needs to talk to it.
"""

import json
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self, TypeVar

from alerting.standin.faults import Call, Fault, limited
from alerting.standin.handler import Handler, Server
from alerting.standin.workspace import Message, Refused, Workspace
from config.settings import Slack

CHANNELS: Final = ("#data-quality", "#alerts", "#warnings", "#platform")
T = TypeVar("T")


class StandIn:
    """One workspace with one bot and one webhook, behind a server in a thread of its own."""

    def __init__(self, *, channels: Iterable[str] = CHANNELS, pace: float = 0.0, port: int = 0) -> None:
        """Channels by name; the first is the webhook's. pace: seconds that must lie between messages of a channel."""
        self.token = f"xoxb-{secrets.token_hex(12)}"
        self.workspace = Workspace()
        names = [self.workspace.add_channel(name) for name in channels]
        self.webhook_channel = names[0]
        self.pace = pace
        self.violations = 0
        """How often somebody was faster than `pace`."""
        self.counts: Counter[str] = Counter()
        """Calls by method, those that went wrong too."""
        self.decide: Callable[[Call], Fault | None] = lambda _: None
        self.closing = threading.Event()
        self._queues: dict[str, deque[Fault]] = {}
        self._changed = threading.Condition(threading.RLock())
        self._posted: dict[str, float] = {}
        self._server = Server(("127.0.0.1", port), Handler)
        self._server.standin = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.workspace.files_url = f"{self.url}upload/v1/"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Serve no more; what hangs is let go."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is, with a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    @property
    def base_url(self) -> str:
        """Of the Web API."""
        return f"{self.url}api/"

    @property
    def webhook_url(self) -> str:
        """Of the incoming webhook."""
        return f"{self.url}services/T0STANDIN/B0STANDIN/{self.token[5:]}"

    def settings(self, *, webhook: bool = False, channel: str | None = None, timeout: float = 10.0) -> Slack:
        """How a client is configured to talk to it; without a channel the first one's name. timeout: seconds."""
        secret = {"webhook_url": self.webhook_url} if webhook else {"token": self.token}
        told = {"base_url": self.base_url, "channel": channel or self.name_of(self.webhook_channel)}
        return Slack.model_validate({**told, "timeout_seconds": timeout, **secret})

    @property
    def messages(self) -> list[Message]:
        """All messages of all channels as they came; only ever appended to."""
        return self.workspace.messages

    def name_of(self, channel: str) -> str:
        """The name of the channel of that id, e.g. "#alerts"."""
        return f"#{self.workspace.channels[channel].name}"

    def id_of(self, name: str) -> str:
        """The id of the channel of that name."""
        return self.workspace.channel(name).id

    def roots(self, channel: str | None = None) -> list[Message]:
        """The messages that are no replies, of one channel (id or name) or of all."""
        where = self.workspace.channel(channel).id if channel else None
        return [one for one in self.messages if one.thread_ts is None and where in (None, one.channel)]

    def thread(self, root: Message) -> list[Message]:
        """The replies to `root`."""
        return list(self.workspace.channels[root.channel].replies.get(root.ts, ()))

    def fail(self, method: str, *faults: Fault, times: int = 1) -> None:
        """Let the next calls of `method` go wrong ("*": of any), each of `faults` in turn, so many times."""
        with self._changed:
            self._queues.setdefault(method, deque()).extend(faults * times)

    def wait_for(self, predicate: Callable[[], T], timeout: float = 10.0) -> T:
        """What `predicate` returns, as soon as that is true: it is asked after each call. Raises TimeoutError."""
        with self._changed:
            if not (found := self._changed.wait_for(predicate, timeout)):
                told = f"{len(self.messages)} messages, calls: {dict(self.counts)}"
                raise TimeoutError(f"not within {timeout:g} s; {told}")
            return found

    def handle(self, call: Call, act: Callable[[], tuple[int, bytes]]) -> tuple[Fault, int, bytes]:
        """Do what is called for, unless it is to go wrong; the fault, and the status and body of the answer."""
        with self._changed:
            self.counts[call.method] += 1
            fault = self._next_fault(call)
            status, body = act() if fault.done else (200, b"")
            self._changed.notify_all()
        if fault.error:
            return fault, fault.status or 200, json.dumps({"ok": False, "error": fault.error}).encode()
        return (fault, status, body) if fault.status is None else (fault, fault.status, fault.body)

    def _next_fault(self, call: Call) -> Fault:
        for method in (call.method, "*"):
            if queue := self._queues.get(method):
                return queue.popleft()
        if (fault := self.decide(call)) is not None:
            return fault
        return limited() if self.pace and self._is_too_fast(call) else Fault(done=True)

    def _is_too_fast(self, call: Call) -> bool:
        if call.method not in ("chat.postMessage", "webhook"):
            return False
        try:
            where = self.workspace.channel(call.arguments.get("channel", self.webhook_channel)).id
        except Refused:
            return False
        now, before = time.monotonic(), self._posted.get(where, float("-inf"))
        if now - before < self.pace:
            self.violations += 1
            return True
        self._posted[where] = now
        return False
