"""Which deployment came before which. Pure."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Ended(NamedTuple):
    """A deployment that has come to its end."""

    id: str
    line: Hashable | None
    """What it replaces the one before in: scope, repository, environment. None: nothing that can be named."""
    ended_ts: float | None
    """Epoch seconds; None: it goes on."""
    succeeded: bool


def previous_success(deployments: Iterable[Ended]) -> dict[str, str]:
    """For each that succeeded the one that did so before it in its line, by id; the first of a line has none.

    Those that ended at the same moment are in the order of their ids.
    """
    told = [(one.ended_ts, one) for one in deployments if one.succeeded and one.line is not None]
    ended = sorted((at, one.id, one.line) for at, one in told if at is not None)
    last: dict[Hashable, str] = {}
    found: dict[str, str] = {}
    for _, name, line in ended:
        if line in last:
            found[name] = last[line]
        last[line] = name
    return found
