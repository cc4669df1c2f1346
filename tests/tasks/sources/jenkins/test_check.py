"""What a person is told before the first run."""

from typing import Any

from tasks.sources.contract import Finding
from tasks.sources.jenkins.api import connect
from tasks.sources.jenkins.check import check
from tests.tasks.sources.faulty import Response
from tests.tasks.sources.jenkins.conftest import SINCE, Place
from tests.tasks.sources.jenkins.controller import FREESTYLE


def found(place: Place, jobs: tuple[str, ...] = ("api",), key: bytes | None = None, **more: Any) -> list[Finding]:
    section = place.source(jobs, **more)._section
    with connect(section) as http:
        return check(section, http, key)


def told(findings: list[Finding]) -> dict[str, tuple[bool, str]]:
    return {one.what: (one.ok, one.text) for one in findings}


def test_all_is_well(place: Place) -> None:
    for name in ("api", "team/a", "team/b", "team/c", "team/d"):
        place.jenkins.job(name).run(SINCE, wfapi={"stages": []})
    findings = told(found(place, ("api", "team/*"), stages=True))
    assert findings == {
        "token": (True, "accepted"),
        "Jenkins": (True, "version 2.516.3"),
        "job api": (True, "visible; builds 1 to 1 are kept"),
        "job team/*": (True, "4 jobs: team/a, team/b, team/c and 1 more"),
        "stages": (True, "those of api can be read"),
        "clock": (True, findings["clock"][1]),
    }


def test_whose_the_token_is_is_said_by_a_pseudonym(place: Place) -> None:
    place.jenkins.job("api")
    text = told(found(place, key=b"k" * 32))["token"][1]
    assert text.startswith("accepted, of ")
    assert "reader" not in text


def test_what_is_wrong_is_said_with_what_to_do(place: Place) -> None:
    place.jenkins.job("team/shell", FREESTYLE)
    place.jenkins.job("pipe").run(SINCE)
    findings = told(found(place, ("api", "team", "other/*", "pipe"), stages=True))
    assert not any(findings[what][0] for what in ("job api", "job team", "job other/*", "stages"))
    assert "grant the user Job/Read" in findings["job api"][1]
    assert 'write "team/*"' in findings["job team"][1]
    assert "Pipeline: REST API" in findings["stages"][1]


def test_a_token_that_jenkins_ignores_is_found_out(place: Place) -> None:
    """Where anybody may read, a wrong token is nobody's, and sees less."""
    healthy = place.server.app
    anonymous = Response(200, {"X-Jenkins": "2.5"}, {"anonymous": True, "authenticated": True, "name": "anonymous"})
    place.server.app = lambda request: anonymous if "whoAmI" in request.path else healthy(request)
    place.jenkins.job("api")
    assert told(found(place))["token"] == (False, "not accepted, Jenkins takes us for nobody: check user and token")
    assert told(found(place, token=None, user=None))["token"][0]


def test_no_jenkins_at_all(place: Place) -> None:
    place.server.inject("401", every=True)
    assert [(one.what, one.ok) for one in found(place)] == [("token", False)]
    place.server.heal()
    place.server.inject("html", every=True)
    assert [(one.what, one.ok) for one in found(place)] == [("Jenkins", False)]


def test_a_clock_that_is_wrong_is_found_out(place: Place) -> None:
    place.jenkins.job("api")
    place.server.inject("date_hours_off", every=True)
    assert "set the clocks" in told(found(place))["clock"][1]
