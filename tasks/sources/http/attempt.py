"""One try of one request: from the permission to ask to an answer, an error, or the wish to ask again."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

import httpx2

from quality.extractions import digits
from tasks.sources.http import limits, links
from tasks.sources.http.answers import Answer, HttpError, Reason
from tasks.sources.http.body import Broken, NotRecords, TooLarge, decoded, error_text
from tasks.sources.http.budget import Budget, shared
from tasks.sources.http.failures import Asked, Failing, transport_failure
from tasks.sources.http.limits import TAKEN, Act, Limits, Meaning
from tasks.sources.http.trace import Trace
from tasks.sources.http.wire import Exchange, Wire

_HOPS: Final = 5
"""Redirects within the host that are followed."""
_LONGEST: Final = 10.0**9
"""Seconds: so that the end of any wait can be written down."""
_ELSEWHERE: Final = "another host, which must not get our credential"
_log = logging.getLogger(__name__)


class Again(Exception):  # noqa: N818 - a wish
    """Ask again in `wait` seconds (None: when one likes); if that was the last try, `error` is to be raised."""

    def __init__(self, error: HttpError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait = error, wait


@dataclass(frozen=True, slots=True)
class Manners:
    """How a client asks; see `Http`."""

    base_url: str
    limits: Limits
    authorise: Callable[[], Mapping[str, str]]
    accept: str
    identity: str | None
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]


class Attempt:
    """Makes the tries of one client."""

    def __init__(self, manners: Manners) -> None:
        self.wire = Wire(manners.base_url, manners.limits)
        self._manners, self._base, self._limits = manners, manners.base_url, manners.limits
        self._clock = manners.clock
        self._budget: Budget | None = None
        self._standing = {
            "accept": manners.accept, "accept-encoding": "gzip",
            "user-agent": f"touchstone/{version('touchstone-dq')}",
        }  # fmt: skip

    def once(self, asked: Asked, trace: Trace, tries: int) -> Answer:
        """The answer. tries: this one included. Raises HttpError, or Again where another try may help."""
        if not links.same_origin(self._base, asked.url):
            raise Failing(asked, 0).error(Reason.REDIRECTED, f"it is at {_ELSEWHERE}")
        credential = self._manners.authorise()
        failing = Failing(asked, tries, credential)
        if not all(value.isascii() and value.isprintable() for value in credential.values()):
            raise failing.error(Reason.REFUSED, "the credential holds a line break, or what no header can hold")
        headers = self._headers(asked, credential)
        url = asked.url
        for _ in range(_HOPS + 1):
            got, at = self._exchange(failing, url, headers, trace)
            if got.status in TAKEN:
                return self._taken(failing, url, got, at)
            text = _error_text(got)
            meaning = limits.meaning(got.status, got.headers, text, at=at, tries=tries - 1)
            if meaning.act is not Act.FOLLOW:
                failure = self._failure(failing, got, meaning, text)
                if not got.is_whole and isinstance(failure, HttpError) and meaning.act is Act.END:
                    raise Again(failure)  # the rest of it might say that it is a limit
                raise failure
            url = self._redirected(failing, url, got)
        raise failing.error(Reason.REDIRECTED, "a redirect in a circle", status=got.status)

    def _redirected(self, failing: Failing, url: str, got: Exchange) -> str:
        """Where to ask instead; the credential stays within its origin. Raises HttpError."""
        location = got.headers.get("location")
        target = links.joined(url, location or "")
        words = None
        if not location:
            words = "a redirect to nowhere"
        elif not links.same_origin(self._base, target):
            words = f"a redirect to {_ELSEWHERE}"
        elif failing.asked.body is not None and got.status == HTTPStatus.MOVED_PERMANENTLY:
            words = "a redirect that may drop what was sent"
        if words:
            raise failing.error(Reason.REDIRECTED, words, status=got.status)
        return target

    def _headers(self, asked: Asked, credential: Mapping[str, str]) -> dict[str, str]:
        conditional = {"if-none-match": asked.etag} if asked.etag else {}
        typed = {"content-type": "application/json"} if asked.body is not None else {}
        return {**self._standing, **conditional, **typed, **credential}

    def _exchange(
        self, failing: Failing, url: str, headers: Mapping[str, str], trace: Trace
    ) -> tuple[Exchange, datetime]:
        """What came back, and now, by the server's clock."""
        budget = self._shared_budget(failing.credential)
        lane = links.path_of(url).removeprefix(links.path_of(self._base)).partition("/")[0]
        self._wait_for(budget, lane, failing)
        with budget.place(self._limits.concurrency):
            sent = self._clock()
            try:
                got = self.wire.exchange(failing.asked.method, url, headers, failing.asked.body)
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                reason, words, passing = transport_failure(error)
                told = failing.error(reason, words)
                raise (Again(told) if passing else told) from None
            except Broken as broken:
                raise Again(failing.error(Reason.BROKEN, str(broken))) from None
            except NotRecords as content:
                raise failing.error(Reason.CONTENT, str(content), content=True) from None
            except TooLarge:
                most = digits(self._limits.answer_bytes)
                raise failing.error(Reason.TOO_LARGE, f"more than {most} bytes in one answer") from None
        at = self._account(budget, lane, got, sent, trace)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %d, %d bytes", failing.place, got.status, len(got.raw))
        return got, at

    def _account(self, budget: Budget, lane: str, got: Exchange, sent: datetime, trace: Trace) -> datetime:
        """Note what the answer says of clock and rate limit; now, by the server's clock."""
        now = self._clock()
        skew = limits.skew_seconds(got.headers, sent + (now - sent) / 2)
        ahead = timedelta(seconds=skew or 0.0)
        left, reset = limits.remaining(got.headers), limits.reset(got.headers, now + ahead)
        ours = reset - ahead if reset is not None else None
        trace.answered(got.status, remaining=left, reset=ours, skew=skew)
        resource = got.headers.get("x-ratelimit-resource", "")
        budget.learn(lane, resource)
        if left is not None and ours is not None and left <= limits.reserved(got.headers, self._limits.reserve):
            budget.close(ours, resource)
        return now + ahead

    def _wait_for(self, budget: Budget, lane: str, failing: Failing) -> None:
        """Until the rate limit lets us ask. Raises HttpError where that is too long."""
        waited = 0.0
        passed: datetime | None = None
        while (until := budget.closed_until(lane, self._clock())) is not None and until != passed:
            seconds = (until - self._clock()).total_seconds()
            if waited + seconds > self._limits.longest_wait_seconds:
                words = f"the rate limit is used up, and resets {until:%Y-%m-%d %H:%M} UTC"
                raise failing.error(Reason.LIMITED, words, reset=until)
            self._manners.sleep(max(seconds, 0.0))
            waited, passed = waited + seconds, until

    def _taken(self, failing: Failing, url: str, got: Exchange, at: datetime) -> Answer:
        if got.status == HTTPStatus.NOT_MODIFIED:
            if not failing.asked.etag:
                raise failing.error(Reason.BROKEN, "unchanged, which was not asked", status=got.status)
            return self._answer(failing, url, got, None)
        try:
            return self._answer(failing, url, got, decoded(got.raw, got.headers.get("content-type", "")))
        except Broken as broken:
            raise Again(failing.error(Reason.CONTENT, str(broken), status=got.status, content=True)) from None
        except NotRecords as content:
            if limits.is_limit_text(str(content)):
                meaning = limits.limited(got.headers, at, failing.tries - 1)
                raise self._failure(failing, got, meaning, str(content)) from None
            raise failing.error(Reason.CONTENT, str(content), status=got.status, content=True) from None

    def _failure(self, failing: Failing, got: Exchange, meaning: Meaning, said: str) -> Exception:
        """What to raise: Again if the wait is bearable, else the error itself."""
        reason = meaning.reason or Reason.BROKEN
        until = None if meaning.wait is None else self._clock() + timedelta(seconds=min(meaning.wait, _LONGEST))
        reset = until if reason is Reason.LIMITED else None
        too_long = (meaning.wait or 0.0) > self._limits.longest_wait_seconds
        words = [said, f"it asks to wait {digits(meaning.wait or 0.0)} s"] if too_long else [said]
        error = failing.error(
            reason, "; ".join(filter(None, words)), status=got.status, reset=reset, content=reason is Reason.CONTENT
        )
        if meaning.act is not Act.AGAIN or too_long:
            return error
        if meaning.everybody and until is not None:
            self._shared_budget(failing.credential).close(until)
            return Again(error, 0.0)
        return Again(error, meaning.wait)

    def _answer(self, failing: Failing, url: str, got: Exchange, content: object) -> Answer:
        relations = links.relations(got.headers.get("link", ""), url)
        following, last = relations.get("next"), relations.get("last")
        if following is not None and not links.same_origin(self._base, following):
            raise failing.error(
                Reason.REDIRECTED, "its next page is at another host, which must not get our credential"
            )
        number = links.page_number(last) if last is not None else None
        return Answer(
            got.status, got.headers, content, got.raw, got.headers.get("etag"), following, number, failing.asked.place
        )

    def _shared_budget(self, credential: Mapping[str, str]) -> Budget:
        if self._budget is None:
            who = self._manners.identity or hashlib.blake2b(repr(sorted(credential.items())).encode()).hexdigest()
            self._budget = shared((links.origin(self._base), who))
        return self._budget


def _error_text(got: Exchange) -> str:
    """What an answer that is none says of itself."""
    if got.status < HTTPStatus.MULTIPLE_CHOICES:
        return f"nothing (status {got.status})"
    if got.status < HTTPStatus.BAD_REQUEST:
        return "a redirect as to a login page, which is not followed"
    return error_text(got.raw)
