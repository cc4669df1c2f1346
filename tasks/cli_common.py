"""What the commands share: where they print, how they exit, how their options are called and read."""

import getpass
import os
import signal
import socket
import threading
from datetime import date
from typing import Annotated, Final

import typer
from rich.console import Console

FAILED: Final = 1
USAGE: Final = 2
NO_MONGO: Final = 3
INTERRUPTED: Final = 130

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def parse_day(text: str) -> date:
    """`text` as a day. Raises typer.BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-01-31") from None


def parse_text(text: str) -> str:
    """`text` as MongoDB can keep it: a shell hands over bytes that are no UTF-8 too."""
    return text.encode("utf-8", "backslashreplace").decode()


def plain(text: object) -> str:
    """`text` for a terminal, on one line: what steers it, or turns the direction of writing, is shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def whoami() -> str:
    """Who runs this, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        user = str(os.getuid())
    return parse_text(f"{user}@{socket.gethostname()}")


def until_stopped() -> threading.Event:
    """What SIGINT (Ctrl-C) or SIGTERM sets; the second of them ends the process as usual."""
    stop = threading.Event()

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return stop


Scope = Annotated[list[str] | None, typer.Option(help="Only this scope; may be repeated.")]
OneScope = Annotated[str | None, typer.Option("--scope", parser=parse_text, metavar="TEXT", help="Only of this scope.")]
Dataset = Annotated[
    str | None, typer.Option(parser=parse_text, metavar="TEXT", help="Only of this dataset, e.g. silver.deployments.")
]
Limit = Annotated[int, typer.Option(min=0, help="At most so many, 0 for all.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Ids = Annotated[list[str], typer.Argument(parser=parse_text, metavar="ID", help="Ids, or the starts of some.")]
SomeIds = Annotated[
    list[str] | None, typer.Argument(parser=parse_text, metavar="ID", help="Ids, or the starts of some.")
]
