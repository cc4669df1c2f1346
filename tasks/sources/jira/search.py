"""One page of a search, of either edition. Cloud has tokens and no totals, Data Center has numbers and totals.

The end of a listing is what Jira itself says is the end: `isLast`, or a total that was reached. A page that holds
fewer issues than it could is no end, and is common on Cloud.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from config.sources import Jira
from tasks.sources.http import Answer, Http, HttpError, Trace
from tasks.sources.jira.access import api, record, unfit

FIELDS: Final = ("*all", "-comment", "-worklog", "-attachment")
FULL, BRIEF = 100, 1000
"""How many issues are asked for at once: with all their fields, and with the time of their last update only."""
_RESTARTS: Final = 3
_EXPIRED: Final = 400


@dataclass(frozen=True, slots=True)
class Page:
    """Some issues of a listing, as they came."""

    records: Sequence[Any]
    ended: bool
    """Jira's own end mark was there."""
    following: str | int | None
    """By what the next page is asked for: a token, or a number."""
    answer: Answer


class Search:
    """Asks one Jira."""

    def __init__(self, section: Jira, http: Http, trace: Trace) -> None:
        self._cloud = section.edition == "cloud"
        self._path = api(section, "search/jql" if self._cloud else "search")
        self._http, self._trace = http, trace

    def page(self, jql: str, following: str | int | None = None, *, brief: bool = False) -> Page:
        """The first page, or the `following` one. Raises HttpError, also for an answer that cannot be true."""
        body: dict[str, Any] = {"jql": jql, "fields": ["updated"] if brief else list(FIELDS)}
        body["maxResults"] = BRIEF if brief else FULL
        if not brief:
            body["expand"] = "changelog" if self._cloud else ["changelog"]
        if self._cloud:
            body |= {"nextPageToken": following} if following else {}
        else:
            body["startAt"] = following or 0
        answer = self._http.post(self._path, body, trace=self._trace)
        content, records = record(answer), answer.records("issues")
        return _by_token(answer, content, records) if self._cloud else _by_number(answer, content, records, body)

    def whole(self, jql: str, *, brief: bool) -> Iterator[Page]:
        """All pages of a listing; from the start again if a token has expired, so that issues may come twice.

        Raises HttpError where the chain does not end: a page without issues, or one that leads back.
        """
        restarts, met, following = 0, set[str | int](), None
        while True:
            try:
                page = self.page(jql, following, brief=brief)
            except HttpError as error:
                if error.status != _EXPIRED or following is None or restarts == _RESTARTS:
                    raise
                self._trace.forgive(_EXPIRED)
                restarts, met, following = restarts + 1, set(), None
                continue
            yield page
            if page.ended:
                return
            following = page.following
            if following is None or following in met or not page.records:
                raise unfit(page.answer, "a page that is not the last, and leads to no other")
            met.add(following)


def _by_token(answer: Answer, content: Mapping[str, Any], records: Sequence[Any]) -> Page:
    token, last = content.get("nextPageToken"), content.get("isLast")
    if token is not None and not (isinstance(token, str) and token):
        raise unfit(answer, "a nextPageToken that is no text")
    named_none = "nextPageToken" in content and token is None
    ended = token is None and (last is True or (last is None and named_none))
    return Page(records, ended, token, answer)


def _by_number(answer: Answer, content: Mapping[str, Any], records: Sequence[Any], asked: Mapping[str, Any]) -> Page:
    start, total = content.get("startAt"), content.get("total")
    if start != asked["startAt"] or not isinstance(total, int):
        raise unfit(answer, "issues from another place than was asked for, or without a total")
    reached = start + len(records)
    if reached > total and records:
        raise unfit(answer, f"{reached} issues where it says that there are {total}")
    return Page(records, reached >= total, reached, answer)


def count(section: Jira, http: Http, jql: str, trace: Trace) -> int:
    """How many issues there are, on Cloud by its estimate. Raises HttpError."""
    if section.edition == "cloud":
        asked = {"jql": jql.partition(" ORDER BY ")[0]}
        answer = http.post(api(section, "search/approximate-count"), asked, trace=trace)
        found = record(answer).get("count")
    else:
        asked_too = {"jql": jql, "startAt": 0, "maxResults": 0, "fields": ["updated"]}
        answer = http.post(api(section, "search"), asked_too, trace=trace)
        found = record(answer).get("total")
    if not isinstance(found, int):
        raise unfit(answer, "no count")
    return found
