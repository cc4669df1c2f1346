"""The dead man's switch: somebody outside is asked while all is well, and notices when nobody asks any more."""

import logging
import threading
import urllib.request
from http.client import HTTPException
from typing import Final

log = logging.getLogger(__name__)

TIMEOUT: Final = 10.0
_asking = threading.Lock()


def ask(url: str) -> bool:
    """Ask for `url`; whether it has answered. Of a failure only the kind is told: the address is a secret."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - configured by the user
            answer.read(1024)
    except (OSError, ValueError, HTTPException) as error:
        log.warning("the dead-man URL does not answer", extra={"error": type(error).__name__})
        return False
    return True


def ask_aside(url: str) -> None:
    """Ask in a thread of its own, which nobody waits for; not while one is still asking."""

    def work() -> None:
        with _asking:
            ask(url)

    if not _asking.locked():
        threading.Thread(target=work, name="deadman", daemon=True).start()
