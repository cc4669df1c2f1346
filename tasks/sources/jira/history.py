"""The whole history of an issue, where a search gives only the newest part of it."""

from collections.abc import Mapping
from typing import Any, Final

from config.sources import Jira
from tasks.sources.http import Answer, Http, Trace
from tasks.sources.jira.access import api, issue_path, record, there, unfit
from tasks.sources.jira.payloads import histories, is_whole, number_of
from tasks.sources.jira.search import FIELDS

_PAGE: Final = 100


class Histories:
    """Completes issues; safe to use from several threads."""

    def __init__(self, section: Jira, http: Http, trace: Trace) -> None:
        self._section, self._http, self._trace = section, http, trace

    def completed(self, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The issue with all of its history; None if it has gone meanwhile. Raises HttpError."""
        if is_whole(found):
            return found
        if self._section.edition == "cloud":
            return self._by_pages(found)
        again = self.fetched(number_of(found))
        return again if again is None else {**found, "changelog": again["changelog"]}

    def fetched(self, number: str) -> Mapping[str, Any] | None:
        """The issue of this id as it is now, with its history; None if Jira shows none. Raises HttpError."""
        params = {"fields": ",".join(FIELDS), "expand": "changelog"}
        answer = there(self._http, issue_path(self._section, number), params, self._trace)
        if answer is None:
            return None
        found = record(answer)
        if found.get("id") != number:
            raise unfit(answer, "another issue than was asked for")
        if is_whole(found):
            return found
        if self._section.edition == "cloud":
            return self._by_pages(found)
        raise unfit(answer, "an issue without its whole history")

    def _by_pages(self, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        path = api(self._section, f"issue/{number_of(found)}/changelog")
        all_of_it: dict[Any, Mapping[str, Any]] = {}
        start = 0
        while True:
            answer = there(self._http, path, {"startAt": start, "maxResults": _PAGE}, self._trace)
            if answer is None:
                return None
            values = [one for one in answer.records("values") if isinstance(one, Mapping)]
            all_of_it |= {one.get("id"): one for one in values}
            start += len(values)
            if _is_last(answer, start, len(all_of_it)):
                break
            if not values:
                raise unfit(answer, "a page of history that is empty and not the last")
        # what is new since the search is in both, or in one of them
        all_of_it |= {one.get("id"): one for one in histories(found)}
        return {**found, "changelog": {"histories": list(all_of_it.values())}}


def _is_last(answer: Answer, reached: int, distinct: int) -> bool:
    content = record(answer)
    total, last = content.get("total"), content.get("isLast")
    if isinstance(total, int) and reached >= total:
        if distinct < total:
            raise unfit(answer, f"{distinct} of {total} entries of a history")
        return True
    return last is True and not isinstance(total, int)
