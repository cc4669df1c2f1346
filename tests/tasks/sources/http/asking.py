"""What the tests of the client share: a clock that its sleep moves, and a client of the small API."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from quality.extractions import Extraction
from quality.receipts import Receipt, Verdict, classify
from tasks.sources.http import Answer, Http, HttpError, Limits, Trace
from tests.tasks.sources.faulty import FaultyServer

CANARY: Final = "ghp_c4naryT0kenThatMustNeverBeSeen"
PATIENT: Final = Limits(timeout_seconds=20, retries=3, answer_bytes=2**20)
"""So that a machine that is busy is not taken for a server that is silent."""
HASTY: Final = Limits(timeout_seconds=0.3, retries=3, answer_bytes=2**20)
DAY: Final = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Ours, which moves when somebody sleeps, and by itself as the real one does."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=sum(self.slept))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def credential() -> Mapping[str, str]:
    return {"Authorization": f"Bearer {CANARY}"}


def client(server: FaultyServer, clock: Clock | None = None, limits: Limits = PATIENT, **other: Any) -> Http:
    clock = clock or Clock()
    told: dict[str, Any] = {"authorise": credential, "clock": clock.now, "sleep": clock.sleep, **other}
    return Http(server.url, limits=limits, **told)


def patience(name: str) -> Limits:
    """With a server that has the fault of this name."""
    return HASTY if "stalled" in name or name == "length_too_long" else PATIENT


def swept(http: Http, trace: Trace, path: str = "items", **params: str | int) -> list[Any]:
    """As a connector reads a listing; an error ends it, and is in the trace."""
    found: list[Any] = []
    try:
        for answer in http.pages(path, params, trace=trace):
            records = answer.records()
            named = [one for one in records if isinstance(one, Mapping) and "id" in one]
            trace.page(records, answer, ids=[one["id"] for one in named])
            found += named
        trace.complete = True
    except HttpError as error:
        trace.fail(error)
    return found


def failure(ask: Callable[[], Answer]) -> HttpError:
    """The error that asking ends in."""
    try:
        answer = ask()
    except HttpError as error:
        return error
    raise AssertionError(f"there was an answer: {answer}")


def verdict(extraction: Extraction, *, rejected: int = 0) -> Verdict:
    """Of a day that was over long before; rejected: records that could not be read."""
    end = DAY + timedelta(days=1)
    return classify(
        Receipt("s/u", DAY, end, DAY, end + timedelta(days=9), items=0, rejected=rejected, extraction=extraction)
    )
