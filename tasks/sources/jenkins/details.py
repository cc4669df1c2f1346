"""Builds with all that is kept of them: in slices of the list, or one by one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from tasks.sources.http import Http, HttpError, Reason, Trace
from tasks.sources.jenkins.api import FULL, builds_tree, job_path
from tasks.sources.jenkins.listing import Listing
from tasks.sources.jenkins.payloads import is_readable

SLICE: Final = 100
"""Builds that are asked for at once; as many as Jenkins shows by itself."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one build's number leads to."""

    number: int
    build: Any = None
    """As Jenkins gave it; None if there is none (any more)."""
    stages: Sequence[Any] | None = None

    @property
    def is_readable(self) -> bool:
        """Whether an item can be made of it."""
        return is_readable(self.build) and self.build["number"] == self.number


class Details:
    """Fetches builds of one job."""

    def __init__(self, http: Http, listing: Listing, trace: Trace, *, stages: bool) -> None:
        self._http, self._trace = http, trace
        self._path = job_path(listing.about.origin)
        self._listed = listing.builds.keys()
        self._stages = stages and listing.about.is_pipeline
        self._places = {number: place for place, number in enumerate(sorted(listing.builds, reverse=True))}
        self._shift = 0

    def singly(self, numbers: Iterable[int]) -> Iterator[Found]:
        """Each by its own address, in order. Raises HttpError, but not for builds that are gone.

        Where one that was listed a moment ago is gone, the job must still be there, or it may be that a token was taken
        its sight.
        """
        return self._http.each(self._single, numbers)

    def in_slices(self, numbers: Sequence[int]) -> Iterator[list[Found]]:
        """`numbers`, which ascend and were listed, in pieces that ascend. Raises HttpError."""
        return self._http.each(self._slice, self._pieces(numbers))

    def _pieces(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        piece: list[int] = []
        for number in numbers:
            if piece and self._places[piece[0]] - self._places[number] >= SLICE:
                yield piece
                piece = []
            piece.append(number)
        if piece:
            yield piece

    def _slice(self, wanted: list[int]) -> list[Found]:
        found: dict[int, Any] = {}
        for _ in range(2):
            start = max(self._places[wanted[-1]] + self._shift, 0)
            end = max(self._places[wanted[0]] + self._shift, 0) + 1
            answer = self._http.get(f"{self._path}api/json", builds_tree(start, end), trace=self._trace)
            listed = [one for one in answer.records("allBuilds") if is_readable(one)]
            found |= {one["number"]: one for one in listed}
            if all(number in found for number in wanted) or not listed:
                break
            # builds began, or were deleted, since the list was read: it has moved
            self._shift += sum(one["number"] > wanted[-1] for one in listed)
            self._shift -= sum(one["number"] < wanted[0] for one in listed)
        return [self._with_stages(Found(one, found[one])) if one in found else self._single(one) for one in wanted]

    def _single(self, number: int) -> Found:
        try:
            answer = self._http.get(f"{self._path}{number}/api/json", {"tree": FULL}, trace=self._trace)
        except HttpError as error:
            if error.reason is not Reason.GONE or error.status is None:
                raise
            if number in self._listed:
                self._http.get(f"{self._path}api/json", {"tree": "nextBuildNumber"}, trace=self._trace)
            self._trace.forgive(error.status)
            return Found(number)
        return self._with_stages(Found(number, answer.content))

    def _with_stages(self, found: Found) -> Found:
        if not self._stages or not found.is_readable:
            return found
        try:
            answer = self._http.get(f"{self._path}{found.number}/wfapi/describe", trace=self._trace)
        except HttpError as error:
            if error.status != HTTPStatus.NOT_FOUND or self._is_there(found.number):
                raise
            self._trace.forgive(HTTPStatus.NOT_FOUND)
            return found
        content = answer.content
        stages = content.get("stages") if isinstance(content, Mapping) else None
        return Found(found.number, found.build, stages if isinstance(stages, list) else [])

    def _is_there(self, number: int) -> bool:
        """Whether the build is there; then it is the plugin that is not."""
        try:
            self._http.get(f"{self._path}{number}/api/json", {"tree": "number"}, trace=self._trace)
        except HttpError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self._trace.forgive(HTTPStatus.NOT_FOUND)
            return False
        return True
