"""The database of this process: one client per process id, embedded or by URI, with the strengths promises need."""

import atexit
import os
from contextlib import ExitStack
from datetime import UTC

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from config import schema
from config.settings import Settings

OLDEST_SERVER = (6, 0)
"""$documents and $sortArray came with 5.1 and 5.2; 6.0 is the first release that has them for production."""

CODEC: CodecOptions[schema.Document] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_CLAMP
)

_held = ExitStack()
_embedded: dict[str, str] = {}
_prepared: set[tuple[int, str, str]] = set()
_clients: dict[tuple[int, str], "MongoClient[schema.Document]"] = {}


class MongoError(Exception):
    """No usable MongoDB. The message says what to do and holds no credential."""


def database(settings: Settings) -> schema.Db:
    """The configured database, ready: reachable, a replica set, with its collections.

    Reads and writes are `majority` and journalled: what was acknowledged survives a failover.
    Without a URI the embedded server is started, or joined, and held until this process ends.
    """
    uri = settings.mongo.uri.get_secret_value() if settings.mongo.uri else embedded_uri(settings)
    key = (os.getpid(), uri)
    if key not in _clients:
        if not _clients:
            atexit.register(close)
        _clients[key] = _connect(uri, settings.mongo.timeout_seconds)
    db = _database(_clients[key], settings.mongo.database)
    if (*key, db.name) not in _prepared:
        try:
            schema.ensure(db)
        except PyMongoError as error:
            raise MongoError(f"the database {db.name!r} cannot be prepared: {error}") from None
        _prepared.add((*key, db.name))
    return db


def close() -> None:
    """Close the connections of this process; the next `database` opens new ones."""
    for key in [key for key in _clients if key[0] == os.getpid()]:
        _clients.pop(key).close()
    _prepared.clear()


def _database(client: "MongoClient[schema.Document]", name: str) -> schema.Db:
    return client.get_database(
        name,
        codec_options=CODEC,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern(w="majority", j=True),
    )


def embedded_uri(settings: Settings) -> str:
    """Where the embedded server listens; started, or joined, and held until this process ends. Raises MongoError."""
    from config import mongod  # noqa: PLC0415 - only where there is no server of one's own

    state = settings.state.resolve()
    if str(state) not in _embedded:
        if not _embedded:
            atexit.register(_held.close)
        try:
            server = _held.enter_context(mongod.embedded(state, binary=settings.mongo.mongod))
        except mongod.MongodError as error:
            raise MongoError(str(error)) from None
        _embedded[str(state)] = server.uri
    return _embedded[str(state)]


def _connect(uri: str, timeout_seconds: float) -> "MongoClient[schema.Document]":
    try:
        client: MongoClient[schema.Document] = MongoClient(
            uri, serverSelectionTimeoutMS=int(timeout_seconds * 1000), appname="touchstone", tz_aware=True
        )
    except OSError as error:
        raise MongoError(f"the MongoDB URI names a file that cannot be read: {error.strerror}") from None
    except (InvalidURI, ConfigurationError, ValueError):
        raise MongoError(
            "TOUCHSTONE_MONGO_URI (or [mongo] uri) is not a valid MongoDB URI: it should look like "
            "mongodb://host:27017/?replicaSet=rs0, with user and password percent-encoded"
        ) from None
    try:
        _check(client)
    except BaseException:
        client.close()
        raise
    return client


def _check(client: "MongoClient[schema.Document]") -> None:
    try:
        hello = client.admin.command("hello")
        version = tuple(client.server_info()["versionArray"][:2])
    except OperationFailure as error:
        raise MongoError(f"MongoDB refused us: {(error.details or {}).get('codeName', error.code)}") from None
    except PyMongoError as error:
        raise MongoError(f"MongoDB does not answer; is it running, and is the URI right? ({error})") from None
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise MongoError(
            "this MongoDB is a standalone server; Touchstone needs a replica set (change streams, majority writes). "
            "Start mongod with --replSet rs0 and run rs.initiate() once in mongosh; one node is enough"
        )
    if version < OLDEST_SERVER:
        raise MongoError(f"this MongoDB is {'.'.join(map(str, version))}; Touchstone needs 6.0 or newer")
