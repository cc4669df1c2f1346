"""The stand-in's HTTP: bodies in JSON or as forms, the bot's token, and answers that go wrong when told to."""

import json
import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from alerting.standin.faults import Call, End, Fault
from alerting.standin.rules import refusal
from alerting.standin.workspace import Refused

if TYPE_CHECKING:
    from alerting.standin.server import StandIn

STRUCTURED: Final = frozenset({"attachments", "blocks", "files", "metadata"})
"""Arguments that a form carries as JSON."""
LARGEST: Final = 16 * 1024 * 1024
LINGER: Final = struct.pack("ii", 1, 0)
"""Close at once with a reset."""


class Server(ThreadingHTTPServer):
    """One thread a connection; those that hang end with the process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    standin: "StandIn"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: Server

    def log_message(self, *_: Any) -> None:
        """Nothing: the messages are there to be looked at."""

    def do_GET(self) -> None:
        """As POST: Slack takes both where something is read."""
        self.do_POST()

    def do_POST(self) -> None:
        """Web API, webhook or upload."""
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= LARGEST:
            self._send(413, b"", "text/plain")
            return
        body = self.rfile.read(size)
        path = urlsplit(self.path)
        if path.path.startswith("/api/"):
            self._api(path.path.removeprefix("/api/"), path.query, body)
        elif path.path.startswith("/services/"):
            self._webhook(path.path, body)
        elif path.path.startswith("/upload/v1/"):
            self._upload(path.path.removeprefix("/upload/v1/"), body)
        else:
            self._send(404, b"no such page", "text/plain")

    def _api(self, method: str, query: str, body: bytes) -> None:
        try:
            arguments = self._arguments(query, body)
        except ValueError:
            self._send(200, _refused("invalid_json"), "application/json; charset=utf-8")
            return
        self._answer(
            Call(method, arguments), lambda: self._called(method, arguments), "application/json; charset=utf-8"
        )

    def _called(self, method: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        standin = self.server.standin
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or arguments.get("token", "")
        if token != standin.token:
            return 200, _refused("invalid_auth" if token else "not_authed")
        try:
            return 200, json.dumps(standin.workspace.call(method, arguments)).encode()
        except Refused as error:
            return 200, json.dumps(error.answer).encode()
        except ValueError:
            return 200, _refused("invalid_arguments")

    def _arguments(self, query: str, body: bytes) -> dict[str, Any]:
        """Of the query and the body; raises ValueError."""
        form = dict(parse_qsl(query, keep_blank_values=True))
        text = body.decode()
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            told = json.loads(text or "{}")
            if not isinstance(told, dict):
                raise ValueError("the arguments are no object")
            return form | told
        form |= dict(parse_qsl(text, keep_blank_values=True))
        return {key: json.loads(value) if key in STRUCTURED else value for key, value in form.items()}

    def _webhook(self, path: str, body: bytes) -> None:
        try:
            arguments = self._arguments("", body)
            if "payload" in arguments:
                arguments = json.loads(arguments["payload"])
        except ValueError:
            self._send(400, b"invalid_payload", "text/plain")
            return
        self._answer(Call("webhook", arguments), lambda: self._hooked(path, arguments), "text/html")

    def _hooked(self, path: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        standin = self.server.standin
        channel = standin.workspace.channel(standin.webhook_channel)
        if not standin.webhook_url.endswith(path):
            return 404, b"no_service"
        if channel.archived:
            return 410, b"channel_is_archived"
        if code := refusal(arguments):
            return 400, code.encode()
        standin.workspace.add(channel, {key: value for key, value in arguments.items() if key != "thread_ts"})
        return 200, b"ok"

    def _upload(self, name: str, body: bytes) -> None:
        def keep() -> tuple[int, bytes]:
            file = self.server.standin.workspace.uploads.get(name)
            if file is None:
                return 404, b"no such upload"
            file.content = body
            return 200, f"OK - {len(body)}".encode()

        self._answer(Call("upload", {"file": name}), keep, "text/plain")

    def _answer(self, call: Call, act: Callable[[], tuple[int, bytes]], kind: str) -> None:
        standin = self.server.standin
        fault, status, body = standin.handle(call, act)
        if fault.delay:
            standin.closing.wait(fault.delay)
        if fault.end is End.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        if fault.end in (End.RESET, End.CLOSE):
            self.close_connection = True
            self.rfile.close()
            self.connection.close()
            return
        self._send(status, body, kind, fault)

    def _send(self, status: int, body: bytes, kind: str, fault: Fault | None = None) -> None:
        headers = dict(fault.headers) if fault else {}
        scopes = ",".join(sorted(self.server.standin.workspace.scopes))
        told = {"Content-Type": kind, "X-OAuth-Scopes": scopes, "Content-Length": str(len(body)), **headers}
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Said'}", *(f"{k}: {v}" for k, v in told.items())]  # noqa: PLR2004
        answer = "\r\n".join([*lines, "", ""]).encode() + body
        if fault is not None and fault.end is End.CUT:
            answer, self.close_connection = answer[: len(answer) - len(body) // 2 - 1], True
        try:
            self.wfile.write(answer)
        except OSError:  # who asked has gone
            self.close_connection = True


def _refused(code: str) -> bytes:
    return json.dumps({"ok": False, "error": code}).encode()
