"""One database for all tests of the detector, emptied before each: making one takes longer than most of them."""

from collections.abc import Iterator

import pytest

from config import schema
from quality.detector import news
from tasks.context import Context
from tests.harness import make_context, own_database


@pytest.fixture(scope="module")
def own(mongo_uri: str) -> Iterator[None]:
    with own_database(mongo_uri, "test_detector"):
        yield


@pytest.fixture
def context(own: None) -> Context:  # noqa: ARG001 - names the database
    made = make_context()
    for name in made.db.list_collection_names(filter={"type": {"$in": ["collection", "timeseries"]}}):
        if name != schema.META and not name.startswith("system."):
            made.db[name].delete_many({})
    made.db[schema.META].delete_many({"_id": news.MARK})
    return made
