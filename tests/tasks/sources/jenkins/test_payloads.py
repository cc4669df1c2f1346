"""What is kept of a build, held against what DevLake recorded of a real Jenkins and made of it."""

import json
from datetime import UTC, date, datetime
from typing import Any, Final

import pytest

from tasks.sources.git_payloads import pseudonym
from tasks.sources.jenkins.payloads import About, is_readable, item
from tests.harness import DATA
from tests.tasks.sources.jenkins.conftest import CANARY, DAY, HOUR, NOW, SINCE, Place, proofs, verdict
from tests.tasks.sources.jenkins.controller import FREESTYLE

JOB: Final = About("dir/devlake", "dir/devlake", "devlake", FREESTYLE)
KEY: Final = b"k" * 32
BUILD: Final[dict[str, Any]] = {
    "_class": "hudson.model.FreeStyleBuild",
    "actions": [
        {"_class": "hudson.model.CauseAction", "causes": [
            {"_class": "hudson.model.Cause$UserIdCause", "shortDescription": "Started by user Ada Byron",
             "userId": "ada", "userName": "Ada Byron"},
            {"_class": "hudson.model.Cause$UpstreamCause", "shortDescription": "Started by upstream project",
             "upstreamBuild": 7, "upstreamProject": "build", "upstreamCauses": [
                 {"shortDescription": "Started by user Ada Byron", "userId": "ada", "userName": "Ada Byron"}]},
        ]},
        {"_class": "hudson.model.ParametersAction", "parameters": [{"name": "ENVIRONMENT", "value": "production"}]},
        {"_class": "hudson.plugins.git.util.BuildData", "remoteUrls": ["https://github.com/acme/api.git"],
         "lastBuiltRevision": {"SHA1": "a" * 40, "branch": [{"SHA1": "a" * 40, "name": "origin/main"}]}},
        {}, {"_class": "org.jenkinsci.plugins.displayurlapi.actions.RunDisplayAction"},
    ],
    "building": False, "duration": 1587, "estimatedDuration": 1457, "keepLog": True, "number": 31, "result": "SUCCESS",
    "timestamp": 1650024049161,
    "changeSet": {"_class": "hudson.plugins.git.GitChangeSetList", "kind": "git", "items": [
        {"commitId": "b" * 40, "timestamp": 1650020000000, "msg": "mend it", "authorEmail": "ada@example.org",
         "author": {"absoluteUrl": "https://jenkins.example/user/ada", "fullName": "Ada Byron"}}]},
    "culprits": [{"absoluteUrl": "https://jenkins.example/user/ada", "fullName": "Ada Byron"}],
}  # fmt: skip


def test_a_build_is_kept_as_it_came_but_for_what_changes_by_itself() -> None:
    kept = item(JOB, BUILD, None, None)
    assert (kept.source, kept.stream, kept.origin, kept.id) == ("jenkins", "builds", "dir/devlake", "31")
    assert kept.updated_on == datetime(2022, 4, 15, 12, 0, 50, 748_000, tzinfo=UTC)
    assert kept.payload["job"] == {"fullName": "dir/devlake", "name": "devlake", "_class": FREESTYLE}
    build = kept.payload["build"]
    assert BUILD.keys() - build.keys() == {"estimatedDuration", "keepLog"}
    assert [one["_class"].rpartition(".")[2] for one in build["actions"]] == [
        "CauseAction", "ParametersAction", "BuildData",
    ]  # fmt: skip
    assert build["actions"][2] == BUILD["actions"][2]
    assert build["changeSet"] == BUILD["changeSet"]


def test_people_are_pseudonyms() -> None:
    """Also where a text would tell who a hash stands for."""
    text = json.dumps(item(JOB, BUILD, None, KEY).payload)
    assert "ada" not in text.lower()
    assert "Started by upstream project" in text
    assert pseudonym(b"ada@example.org", KEY) in text, "the same as of the git source"


def test_people_are_pseudonyms_also_in_what_cannot_be_read(place: Place) -> None:
    """It is set aside for a person to look at, and that may be anybody."""
    place.jenkins.job("api").run(SINCE, **{name: BUILD[name] for name in ("actions", "changeSet", "culprits")})
    place.jenkins.job("api").builds[1]["timestamp"] = "yesterday"
    (hidden,) = place.sweep(key=KEY).rejected
    assert b"ada" not in hidden.raw.lower()
    assert b"yesterday" in hidden.raw
    assert b"Ada Byron" in place.sweep().rejected[0].raw


def test_a_build_that_is_nested_too_deeply_is_set_aside(place: Place) -> None:
    """It ends no sweep, though nobody can look for people in it."""
    nested: Any = "x"
    for _ in range(700):
        nested = {"x": nested}
    place.jenkins.job("api").run(SINCE, actions=[{"parameters": [{"value": nested}]}])
    place.jenkins.job("api").run(SINCE + DAY)
    sweep = place.sweep(key=KEY)
    assert sweep.ids == ["2"]
    assert [(one.place, one.raw) for one in sweep.rejected] == [("api #1", b'{"number": 1}')]


@pytest.mark.parametrize(
    ("change", "readable"),
    [
        ({}, True), ({"duration": -5}, True), ({"timestamp": None}, False), ({"timestamp": "1"}, False),
        ({"timestamp": True}, False), ({"timestamp": 10**25}, True), ({"timestamp": -(10**25)}, True),
        ({"number": "31"}, False), ({"number": 0}, False), ({"number": 2**40}, False),
        ({"duration": None}, False), ({"building": True, "duration": None}, True),
    ],
)  # fmt: skip
def test_what_is_readable_makes_an_item(change: dict[str, Any], readable: bool) -> None:  # noqa: FBT001 - a table
    build = {**BUILD, **change}
    assert is_readable(build) is readable
    if readable:
        assert item(JOB, build, None, KEY).updated_on.tzinfo is UTC


def test_stages_are_fetched_where_they_are_asked_for(place: Place) -> None:
    stage = {"id": "6", "name": "Deploy", "execNode": "", "status": "SUCCESS", "startTimeMillis": 1662651634424,
             "durationMillis": 79, "pauseDurationMillis": 0}  # fmt: skip
    wfapi = {"id": "1", "name": "#1", "status": "SUCCESS", "stages": [{"_links": {"self": {"href": "/x"}}, **stage}]}
    place.jenkins.job("api").run(SINCE, wfapi=wfapi)
    place.jenkins.job("shell", FREESTYLE).run(SINCE)
    assert "stages" not in place.sweep().items[0].payload
    assert place.sweep(stages=True).items[0].payload["stages"] == [stage]
    assert "stages" not in place.sweep(jobs=["shell"], stages=True).items[0].payload


def test_stages_that_are_asked_for_later_are_fetched_for_all(place: Place) -> None:
    place.jenkins.job("api").run(SINCE, wfapi={"stages": [{"id": "6", "name": "Deploy"}]})
    first = place.sweep()
    second = place.sweep(first.swept.cursor, stages=True)
    assert second.items[0].payload["stages"] == [{"id": "6", "name": "Deploy"}]
    assert second.items[0].updated_on > first.items[0].updated_on


def test_a_plugin_that_is_missing_is_no_pipeline_without_stages(place: Place) -> None:
    """It was asked for, and nobody knows what they were."""
    place.jenkins.job("api").run(SINCE)
    sweep = place.sweep(stages=True)
    assert sweep.ids == []
    assert "404" in str(verdict(sweep, 1).reason)


def test_another_key_hands_all_over_once_more(place: Place) -> None:
    """With other pseudonyms, as of now; and only once."""
    for day in range(3):
        place.jenkins.job("api").run(SINCE + day * DAY, culprits=BUILD["culprits"])
    first = place.sweep(key=KEY)
    second = place.sweep(first.swept.cursor, NOW + HOUR, key=b"other" * 8)
    assert (second.ids, {one.updated_on for one in second.items}) == (first.ids, {NOW + HOUR})
    assert proofs(second) == set()
    assert place.sweep(second.swept.cursor, NOW + DAY, key=b"other" * 8).swept.unchanged


def test_the_newest_builds_can_be_shown_without_a_sweep(place: Place) -> None:
    for number in range(9):
        place.jenkins.job("api").run(SINCE, result="SUCCESS" if number else "FAILURE")
    assert [one.id for one in place.source().sample("api", "builds", 3)] == ["7", "8", "9"]


def test_the_token_goes_to_jenkins_and_nowhere_else(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    place.jenkins.job("api").run(SINCE)
    place.server.inject("401_that_tells_the_token", every=True)
    texts = [repr(place.sweep()), repr(place.source()), repr(place.source()._section), caplog.text]
    place.server.heal()
    place.server.inject("302_login", every=True)
    texts += [repr(place.sweep()), caplog.text]
    assert not place.server.strays
    assert place.server.requests[0].headers["authorization"].startswith("Basic ")
    secrets = (CANARY, place.server.requests[0].headers["authorization"].split()[1])
    assert not [one for text in texts for one in secrets if one in text]


def test_recorded_builds_are_read_as_devlake_reads_them(place: Place) -> None:
    """Its expected table of builds has number, duration, result and start; a running build is one that says so."""
    api = place.jenkins.job("dir/devlake", FREESTYLE)
    recorded = [json.loads(line) for line in (DATA / "jenkins" / "builds.jsonl").read_text().splitlines()]
    mine = [one for one in recorded if "devlake" in one["fullDisplayName"]]
    api.builds = {one["number"]: {"keepLog": False, "building": False, **one} for one in mine}
    api.next = 10_006
    sweep = place.sweep(jobs=["dir/devlake"], since=date(2022, 1, 1))
    expected = {
        (11, 14820, "SUCCESS", 1650017416514), (17, 57, "SUCCESS", 1650017153775), (21, 2121, "SUCCESS", 1650022548450),
        (23, 61, "SUCCESS", 1662647211512), (27, 4, "SUCCESS", 1650017177939), (31, 1587, "SUCCESS", 1650024049161),
        (37, 3, "SUCCESS", 1650017186253), (47, 6, "SUCCESS", 1650022556910), (10001, 4, "SUCCESS", 1650017177939),
        (10002, 4, "FAILURE", 1650017177939), (10003, 4, "ABORTED", 1650017177939),
        (10004, 4, "NOT_BUILD", 1650017177939), (10005, 4, "UNSTABLE", 1650017177939),
    }  # fmt: skip
    builds = [one.payload["build"] for one in sweep.items]
    assert {(one["number"], one["duration"], one["result"], one["timestamp"]) for one in builds} == expected
    assert {one["number"] for one in builds if one["building"]} == {27, 10001, 10002}
    revisions = {
        (one["number"], action["lastBuiltRevision"]["SHA1"], *action["remoteUrls"])
        for one in builds
        for action in one["actions"]
        if "lastBuiltRevision" in action
    }
    assert revisions == {
        (11, "ceeffdfdd06bce232f9adb3a656265bad13a8473", "https://github.com/merico-dev/lake.git"),
        (21, "0f886c74949c3ee7e489188911c7dc0c1d547418", "https://github.com/merico-dev/lake.git"),
        (31, "0f886c74949c3ee7e489188911c7dc0c1d547418", "https://github.com/merico-dev/lake.git"),
    }


def test_recorded_stages_are_kept(place: Place) -> None:
    recorded = [json.loads(line) for line in (DATA / "jenkins" / "stages.jsonl").read_text().splitlines()]
    place.jenkins.job("api").run(SINCE, wfapi={"id": "1", "stages": recorded})
    kept = place.sweep(stages=True).items[0].payload["stages"]
    assert kept == [{name: value for name, value in one.items() if name != "_links"} for one in recorded]


def test_a_pattern_is_sampled_too(place: Place) -> None:
    for name in ("team/a", "team/b"):
        for _ in range(5):
            place.jenkins.job(name).run(SINCE)
    found = [(one.origin, one.id) for one in place.source(["team/*"]).sample("team/*", "builds", 4)]
    assert found == [("team/a", "4"), ("team/a", "5"), ("team/b", "4"), ("team/b", "5")]
