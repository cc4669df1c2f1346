"""The client against each fault there is, at the beginning and in the middle of a listing."""

import pytest

from quality.receipts import Proof
from tasks.sources.http import Trace
from tests.tasks.sources.faulty import FAULTS, FaultyServer
from tests.tasks.sources.http.asking import CANARY, client, patience, swept, verdict
from tests.tasks.sources.listing import ITEMS

IDS = [item["id"] for item in ITEMS]
NEEDS_TOTAL = {name for name, fault in FAULTS.items() if fault.needs_total}
GOES_ON = {name for name, fault in FAULTS.items() if fault.transient or fault.harmless}


def test_there_are_many_faults_of_each_kind() -> None:
    assert len(FAULTS) >= 100
    assert sum(fault.transient for fault in FAULTS.values()) >= 30
    assert not any(fault.transient and fault.harmless for fault in FAULTS.values())


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("name", sorted(GOES_ON))
def test_what_passes_and_what_is_harmless_changes_nothing(server: FaultyServer, name: str, nth: int) -> None:
    server.inject(name, nth=nth)
    trace = Trace("items")
    with client(server, limits=patience(name)) as http:
        found = swept(http, trace)
    assert server.applied[name] == 1
    assert sorted({item["id"] for item in found}) == IDS
    assert verdict(trace.extraction()).proof is Proof.PROVEN
    assert bool(trace.extraction().retries) is FAULTS[name].transient


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - GOES_ON - NEEDS_TOTAL))
def test_what_lasts_is_noticed(server: FaultyServer, name: str, nth: int) -> None:
    """Nothing that is missing is ever proven, the reason can be read, and the credential stays where it belongs."""
    server.inject(name, nth=nth)
    trace = Trace("items")
    with client(server, limits=patience(name)) as http:
        found = swept(http, trace, per_page=5)
    unreadable = trace.items_received + trace.items_repeated - len(found)
    judged = verdict(trace.extraction(), rejected=unreadable)
    if not server.applied[name]:  # it makes no sense here, e.g. no total is told
        assert judged.proof is Proof.PROVEN
        return
    assert judged.proof is not Proof.PROVEN or [item["id"] for item in found] == IDS
    assert judged.proof is Proof.PROVEN or (judged.reason and judged.reason.isprintable())
    assert CANARY not in str(trace.extraction())
    assert not server.strays


def test_a_shifted_page_shows_against_a_total(server: FaultyServer) -> None:
    """What came twice counts once, so that it cannot stand in for what never came."""
    server.inject("page_shifted", nth=3)
    trace = Trace("items")
    with client(server) as http:
        swept(http, trace)
    trace.total_advertised = len(ITEMS)
    assert trace.items_repeated == 1
    assert verdict(trace.extraction()).reason == f"{len(ITEMS) - 1} of {len(ITEMS)} records were received"
