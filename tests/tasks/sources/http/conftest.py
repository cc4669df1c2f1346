"""The small healthy API behind a server that can go wrong."""

from collections.abc import Iterator

import pytest

from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.http.asking import Clock
from tests.tasks.sources.listing import app


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(app) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()
