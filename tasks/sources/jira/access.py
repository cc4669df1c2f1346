"""How a Jira is reached: its address, its credential, and what differs between Cloud and Data Center."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from config.sources import Jira
from tasks.sources.contract import SourceError
from tasks.sources.http import Answer, Http, HttpError, Limits, Reason, Trace

GONE: Final = (404, 410)


def utc_now() -> datetime:
    """By our clock."""
    return datetime.now(UTC)


def api(section: Jira, path: str) -> str:
    """Where `path` of the REST API is, relative to the base."""
    return f"rest/api/{3 if section.edition == 'cloud' else 2}/{path}"


def opened(section: Jira, clock: Callable[[], datetime] = utc_now) -> Http:
    """A client of the configured Jira. Raises SourceError if there is no token."""
    limits = Limits.of(section.requests)
    headers = _credential(section)
    return Http(section.base_url.rstrip("/") + "/", authorise=lambda: headers, limits=limits, clock=clock)


def _credential(section: Jira) -> Mapping[str, str]:
    token = section.secret()
    if not token:
        raise SourceError(f"{section.name}: there is no token: set {section.variable}, or token_file")
    if section.user is None:
        return {"authorization": f"Bearer {token}"}
    return {"authorization": f"Basic {b64encode(f'{section.user}:{token}'.encode()).decode()}"}


def unfit(answer: Answer, what: str) -> HttpError:
    """The error of an answer that cannot be true."""
    return HttpError(
        f"{answer.place}: answered {answer.status} with {what}: run again; if it stays, look at the server",
        reason=Reason.CONTENT, status=answer.status, place=answer.place, said=what, content=what,
    )  # fmt: skip


def record(answer: Answer) -> Mapping[str, Any]:
    """The object that was asked for. Raises HttpError if something else came."""
    if not isinstance(answer.content, Mapping):
        raise unfit(answer, "a list in place of an object")
    return answer.content


def there(http: Http, path: str, params: Mapping[str, str | int], trace: Trace) -> Answer | None:
    """What is at `path`; None if Jira says that there is nothing, or nothing that may be seen."""
    try:
        return http.get(path, params, trace=trace)
    except HttpError as error:
        if error.status not in GONE:
            raise
        trace.forgive(error.status)
        return None


def issue_path(section: Jira, name: str) -> str:
    """Of the issue with this id or key."""
    return api(section, f"issue/{quote(name, safe='')}")
