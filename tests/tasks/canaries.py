"""Looks for secrets in all that was told, in whatever form they may be written."""

import json
import traceback
from base64 import b64encode
from urllib.parse import quote


def forms(secret: str, user: str = "") -> set[str]:
    """How a secret may be written: plain, quoted for addresses, as JSON, in hexadecimal, or in base64."""
    found = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.encode().hex()}
    for before in ({f"{user}:"} if user else set()) | {"", "a", "ab"}:
        coded = b64encode(f"{before}{secret}".encode()).decode()
        found.add(coded[-(-len(before) * 4 // 3) + 1 if before in {"a", "ab"} else 0 :].rstrip("=")[:-1])
    return found


class Told:
    """All that was told so far, by where."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bytes]] = []
        self.canaries: set[str] = set()

    def add(self, where: str, what: object) -> None:
        self.texts.append((where, what if isinstance(what, bytes) else str(what).encode("utf-8", "backslashreplace")))

    def error(self, where: str, error: BaseException) -> None:
        """An error and all that it was caused by, or came up while it was handled, with its attributes."""
        waiting: list[BaseException | None] = [error]
        met: set[int] = set()
        while waiting:
            if (one := waiting.pop()) is None or id(one) in met:
                continue
            met.add(id(one))
            said = [str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "__notes__", ()))]
            self.add(where, "\n".join([*said, *traceback.format_exception(one)]))
            waiting += [one.__cause__, one.__context__]

    def hits(self) -> set[str]:
        """Where a canary is, whatever its form."""
        sought = [one.encode() for one in self.canaries]
        return {where for where, text in self.texts for one in sought if one in text}
