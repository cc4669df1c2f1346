"""The database of this process: one client per process id, embedded or by URI, with the strengths promises need."""

import atexit
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC
from typing import Any

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
_first = threading.RLock()
"""Of several threads that ask for what is not there yet, one makes it."""


def _forked() -> None:
    """No thread of the parent, which may have held the lock, goes on in a child."""
    global _first  # noqa: PLW0603 - a lock cannot be renewed in its place
    _first = threading.RLock()


os.register_at_fork(after_in_child=_forked)


class MongoError(Exception):
    """No usable MongoDB. The message says what to do and holds no credential."""


def database(settings: Settings) -> schema.Db:
    """The configured database, ready: reachable, a replica set, with its collections.

    Reads and writes are `majority` and journalled: what was acknowledged survives a failover.
    Without a URI the embedded server is started, or joined, and held until this process ends.
    """
    with _first:
        uri = _own_uri(settings)
        db = _database(_client(uri, settings), settings.mongo.database)
        key = (os.getpid(), uri)
        if (*key, db.name) not in _prepared:
            try:
                schema.ensure(db)
            except PyMongoError as error:
                raise MongoError(f"the database {db.name!r} cannot be prepared: {error}") from None
            _prepared.add((*key, db.name))
    return db


def foreign(settings: Settings, uri: str | None, name: str | None) -> schema.Db:
    """A database that is only read: `name` on the server at `uri`, each ours if None. Nothing is made in it.

    With a URI and no name it is the database that the URI names. A standalone server will do; what is read from a
    replica set was acknowledged by its majority. Raises MongoError, which says what to do.
    """
    with _first:
        client = _client(_own_uri(settings) if uri is None else uri, settings, ours=uri is None)
    if name is None and uri is not None:
        try:
            name = client.get_default_database().name
        except ConfigurationError:
            raise MongoError("the uri names no database: say which one with the key `database`") from None
    try:
        hello = client.admin.command("hello")
    except PyMongoError as error:
        raise MongoError(f"MongoDB does not answer; is it running, and is the URI right? ({error})") from None
    concern = ReadConcern("majority") if _is_replicated(hello) else ReadConcern()
    return client.get_database(name or settings.mongo.database, codec_options=CODEC, read_concern=concern)


def _own_uri(settings: Settings) -> str:
    return settings.mongo.uri.get_secret_value() if settings.mongo.uri else embedded_uri(settings)


def _client(uri: str, settings: Settings, *, ours: bool = True) -> "MongoClient[schema.Document]":
    """The client of this process for `uri`, checked once; on a server that is not ours, only for what reading needs."""
    key = (os.getpid(), uri)
    if key not in _clients:
        client = _connect(uri, settings.mongo.timeout_seconds, ours=ours)
        if not _clients:
            atexit.register(close)
        _clients[key] = client
    return _clients[key]


def close() -> None:
    """Close the connections of this process; the next `database` opens new ones."""
    with _first:
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
    with _first:
        if str(state) not in _embedded:
            if not _embedded:
                atexit.register(_held.close)
            try:
                server = _held.enter_context(mongod.embedded(state, binary=settings.mongo.mongod))
            except mongod.MongodError as error:
                raise MongoError(str(error)) from None
            _embedded[str(state)] = server.uri
    return _embedded[str(state)]


def _connect(uri: str, timeout_seconds: float, *, ours: bool) -> "MongoClient[schema.Document]":
    try:
        client: MongoClient[schema.Document] = MongoClient(
            uri, serverSelectionTimeoutMS=int(timeout_seconds * 1000), appname="touchstone", tz_aware=True
        )
    except OSError as error:
        raise MongoError(f"the MongoDB URI names a file that cannot be read: {error.strerror}") from None
    except (InvalidURI, ConfigurationError, ValueError):
        raise MongoError(
            f"{'TOUCHSTONE_MONGO_URI (or [mongo] uri)' if ours else 'its uri'} is not a valid MongoDB URI: it should "
            "look like mongodb://host:27017/?replicaSet=rs0, with user and password percent-encoded"
        ) from None
    try:
        _check(client, ours=ours)
    except BaseException:
        client.close()
        raise
    return client


def _is_replicated(hello: Mapping[str, Any]) -> bool:
    """Whether the server is of a replica set, or stands before a sharded cluster of them."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _check(client: "MongoClient[schema.Document]", *, ours: bool) -> None:
    try:
        hello = client.admin.command("hello")
        version = tuple(client.server_info()["versionArray"][:2])
    except OperationFailure as error:
        raise MongoError(f"MongoDB refused us: {(error.details or {}).get('codeName', error.code)}") from None
    except PyMongoError as error:
        raise MongoError(f"MongoDB does not answer; is it running, and is the URI right? ({error})") from None
    if ours and not _is_replicated(hello):
        raise MongoError(
            "this MongoDB is a standalone server; Touchstone needs a replica set (change streams, majority writes). "
            "Start mongod with --replSet rs0 and run rs.initiate() once in mongosh; one node is enough"
        )
    if version < OLDEST_SERVER:
        raise MongoError(f"this MongoDB is {'.'.join(map(str, version))}; Touchstone needs 6.0 or newer")
