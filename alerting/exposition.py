"""Prometheus metrics of a notifier, on loopback, for those who ask for them (`[notifier] metrics_port`)."""

from datetime import datetime
from typing import Any

from alerting.incidents import Incident
from alerting.reasons import Reason
from config.settings import ConfigError, Settings


class Exposition:
    """Counts nothing unless a port is configured."""

    def __init__(self, port: int | None = None) -> None:
        """Raises ConfigError if the package is missing or the port is taken."""
        self.port: int | None = None
        self._told: Any = None
        self._server: Any = None
        if port is None:
            return
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server  # noqa: PLC0415
        except ImportError:
            what = "needs the package prometheus-client: pip install 'touchstone-dq[prometheus]'"
            raise ConfigError(f"notifier.metrics_port: {what}") from None
        registry = CollectorRegistry()
        self._told = Counter("touchstone_messages_told", "Messages delivered.", ["reason"], registry=registry)
        self._failed = Counter("touchstone_messages_failed", "Attempts that failed.", ["code"], registry=registry)
        self._owed = Gauge("touchstone_incidents_owed", "Incidents somebody is to be told of.", registry=registry)
        self._swept = Gauge("touchstone_last_sweep_timestamp_seconds", "When it looked last.", registry=registry)
        self._seconds = Histogram(
            "touchstone_delivery_seconds", "From the change of an incident to its delivery.", registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 3600),
        )  # fmt: skip
        try:
            server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            raise ConfigError(f"notifier.metrics_port: {port}: {error.strerror}") from None
        self.port = server.server_port
        self._server = server

    @classmethod
    def of(cls, settings: Settings) -> "Exposition":
        """As configured. Raises ConfigError."""
        return cls(settings.notifier.metrics_port)

    def told(self, reason: Reason, incident: Incident, now: datetime) -> None:
        """A message was delivered."""
        if self._told is not None:
            self._told.labels(str(reason)).inc()
            self._seconds.observe(max(0.0, (now - (incident.changed_at or now)).total_seconds()))

    def failed(self, code: str) -> None:
        """An attempt failed."""
        if self._told is not None:
            self._failed.labels(code).inc()

    def swept(self, owed: int, now: datetime) -> None:
        """It looked at what is owed."""
        if self._told is not None:
            self._owed.set(owed)
            self._swept.set(now.timestamp())

    def close(self) -> None:
        """Give the port back."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
