"""A Jenkins that goes on building, and whose builds are deleted, while it is read."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tasks.sources.faulty import FaultyServer, Request
from tests.tasks.sources.jenkins.conftest import HOUR, NOW, SINCE, Place
from tests.tasks.sources.jenkins.controller import Controller


class Busy:
    """A job to which things happen while it is read: one list of steps before each answer."""

    def __init__(self, plan: list[list[str]], builds: int) -> None:
        self.jenkins = Controller()
        self.api = self.jenkins.job("api")
        for hour in range(builds):
            self.api.run(SINCE + hour * HOUR)
        self.plan = [list(steps) for steps in plan]
        self.deleted: set[str] = set()
        self.now = NOW
        self.jenkins.before = self.happen

    def happen(self, _: Request) -> None:
        for step in self.plan.pop(0) if self.plan else []:
            running = [number for number, one in self.api.builds.items() if one["building"]]
            match step:
                case "run":
                    self.api.run(self.now - HOUR)
                case "start":
                    self.api.start(self.now - HOUR)
                case "finish" if running:
                    self.api.finish(running[0])
                case "delete" if len(self.api.builds) > 4:
                    gone = sorted(self.api.builds)[len(self.api.builds) // 2]
                    self.deleted.add(str(gone))
                    del self.api.builds[gone]


STEPS = st.lists(st.sampled_from(["run", "start", "finish", "delete"]), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(during=st.lists(STEPS, min_size=1, max_size=8), ahead=st.integers(0, 230))
def test_builds_that_begin_between_requests_are_never_lost(during: list[list[str]], ahead: int) -> None:
    """Whatever happens while a sweep reads: once all is quiet, each build was handed over as it is, and no other."""
    busy = Busy(during, ahead)
    with FaultyServer(busy.jenkins) as server:
        place = Place(busy.jenkins, server)
        cursor, said = None, {}
        while True:
            sweep = place.sweep(cursor, busy.now)
            for one in sweep.items:
                said[one.id] = "deleted" if one.deleted else one.payload["build"]["result"]
            cursor = sweep.swept.cursor
            if not busy.plan and sweep.swept.unchanged:
                break
            busy.now += HOUR
    assert {id_ for id_ in said if id_ in busy.deleted and said[id_] != "deleted"} == set()
    there = {id_: result for id_, result in said.items() if id_ not in busy.deleted}
    assert there == {str(number): one["result"] for number, one in busy.api.builds.items()}
