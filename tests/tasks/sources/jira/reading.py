"""Sweeps of the stand-in, one after another, and what is known after them."""

from dataclasses import dataclass, field
from typing import Any

from config.sources import Jira
from tasks.sources.contract import Cursor, Item, Part, Progress, Rejected, Swept
from tasks.sources.jira.source import JiraSource
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import TOKEN, USER, Board

KEY = b"the key of the pseudonyms"


def section_of(board: Board, url: str, **more: Any) -> Jira:
    """As a user would configure the stand-in."""
    told = {"type": "jira", "name": "issues", "since": "2026-02-01", "token": TOKEN, "projects": ["OPS"]}
    user = {"user": USER} if board.edition == "cloud" else {}
    fast = {"requests": {"retries": 1, "timeout_seconds": 5}}
    return Jira.model_validate({**told, **user, **fast, "base_url": url, "edition": board.edition, **more})


@dataclass
class Reader:
    """A source with the cursor of its last sweep; settings may be changed between two sweeps."""

    board: Board
    server: FaultyServer
    more: dict[str, Any] = field(default_factory=dict)
    key: bytes | None = KEY
    cursor: Cursor | None = None
    items: dict[str, Item] = field(default_factory=dict)
    """The newest state of each id, as a fold would have it."""
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def source(self) -> JiraSource:
        section = section_of(self.board, self.server.url, **self.more)
        return JiraSource(section, self.key, clock=lambda: self.board.now)

    def sweep(self, *, stop_after: int | None = None) -> Swept | None:
        """Read until the end, or until so many items were yielded: then the last progress is the cursor."""
        self.items_now: list[Item] = []
        self.progress: list[Cursor] = []
        begun = len(self.server.requests)
        for part in self.source.sweep("OPS", self.cursor, self.board.now):
            self._take(part)
            if isinstance(part, Swept):
                self.cursor = part.cursor
                self.asked = self.server.requests[begun:]
                return part
            if stop_after is not None and len(self.items_now) >= stop_after:
                break
        return None

    def _take(self, part: Part) -> None:
        match part:
            case Item():
                self.items_now.append(part)
                before = self.items.get(part.id)
                if before is None or part.updated_on >= before.updated_on:
                    self.items[part.id] = part
            case Rejected():
                self.rejected.append(part)
            case Progress():
                self.progress.append(part.cursor)
                self.cursor = part.cursor

    def there(self) -> set[str]:
        """The ids that are known and have not gone."""
        return {number for number, item in self.items.items() if not item.deleted}

    def agrees(self) -> bool:
        """Whether what is known is what the board holds, in its present state and with its whole history."""
        ours = {
            number: (item.payload["issue"]["key"], len(item.payload["issue"]["changelog"]["histories"]))
            for number, item in self.items.items()
            if not item.deleted
        }
        theirs = {
            number: (one["key"], len(one["changelog"]))
            for number, one in self.board.issues.items()
            if one["fields"]["project"]["id"] == self.board.projects["OPS"] and number not in self.board.hidden
        }
        return ours == theirs
