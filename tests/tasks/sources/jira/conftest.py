"""A Jira of each edition, a source that reads it, and what its sweeps yield."""

from collections.abc import Callable, Iterator

import pytest

from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import Board
from tests.tasks.sources.jira.reading import Reader

Make = Callable[..., Reader]


@pytest.fixture(params=["cloud", "data_center"])
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def board(edition: str) -> Board:
    return Board(edition)


@pytest.fixture
def server(board: Board) -> Iterator[FaultyServer]:
    with FaultyServer(board) as server:
        yield server


@pytest.fixture
def reader(board: Board, server: FaultyServer) -> Reader:
    return Reader(board, server)
