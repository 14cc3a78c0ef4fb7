# SPDX-License-Identifier: Apache-2.0
"""The metrics of a server as Prometheus reads them, by HTTP. Needs prometheus-client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gr00t_policy_core.errors import AddressError

PREFIX = "gr00t_policy"
# Different values of each label that clients choose. Prometheus keeps a series for each of them for
# weeks; a robot with a counter in its reasons would fill its disk.
LABEL_VALUES = {"robot": 256, "state": 16, "task": 256, "outcome": 16, "reason": 64}
OTHER = "other"


class Exporter:
    """Answers GET /metrics in threads of its own.

    Args:
        host: The interface to listen on.
        port: 0 picks a free port, which the attribute `port` tells.
        snapshot: Makes what the endpoint ``metrics`` answers; called at every GET.

    Raises:
        AddressError: The exporter cannot listen there.
    """

    def __init__(self, host: str, port: int, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        registry = CollectorRegistry()
        registry.register(_Snapshots(snapshot))
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise AddressError(f"cannot serve metrics on {host}:{port}: {error}") from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop answering, and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class LabelValues:
    """The values of the labels that clients choose, bounded over the life of a server.

    The first values of a label are kept; each further one is exported as `OTHER`.
    """

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {label: set() for label in LABEL_VALUES}

    def bounded(self, label: str, value: str) -> str:
        """The value, or `OTHER` where the label has all values that it may have."""
        seen = self._seen[label]
        if len(seen) < LABEL_VALUES[label]:
            seen.add(value)
        return value if value in seen else OTHER


class _Snapshots(Collector):  # type: ignore[misc, unused-ignore]  # where it is not installed
    def __init__(self, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        self._snapshot = snapshot
        self._labels = LabelValues()

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot(), self._labels)


def families(snapshot: Mapping[str, Any], labels: LabelValues) -> Iterator[Metric]:
    """The metrics of a snapshot, named by Prometheus's rules.

    Args:
        snapshot: What the endpoint ``metrics`` answers.
        labels: The label values of the snapshots before.
    """
    requests = CounterMetricFamily(
        f"{PREFIX}_requests", "Admitted requests, by endpoint", labels=["endpoint"]
    )
    for endpoint, count in snapshot["requests"].items():
        requests.add_metric([endpoint], count)
    yield requests
    errors = CounterMetricFamily(f"{PREFIX}_errors", "Error replies, by kind", labels=["kind"])
    for kind, count in snapshot["errors"].items():
        errors.add_metric([kind], count)
    yield errors
    for name, text in (("received_bytes", "Size of requests"), ("sent_bytes", "Size of replies")):
        yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=snapshot[name])
    for name, key, text in (
        ("batch_size", "batch_size", "Requests answered by one call of the policy"),
        ("queue_seconds", "queue_s", "From the request to the call of the policy"),
        ("inference_seconds", "inference_s", "One call of the policy"),
    ):
        yield _histogram(f"{PREFIX}_{name}", text, snapshot[key])
    waiting = snapshot["waiting"]
    for name, text, value in (
        ("clients", "Clients that asked something in the last minute", len(snapshot["clients"])),
        ("waiting_requests", "Requests that wait", waiting["requests"]),
        ("waiting_bytes", "Size of the requests that wait", waiting["bytes"]),
        ("ready", "1 once the policy is loaded", snapshot["state"] == "ready"),
        (
            "open_to_network",
            "1 where anybody on the network may ask",
            snapshot["open_to_network"],
        ),
        ("uptime_seconds", "Time since the server was made", snapshot["uptime_s"]),
    ):
        yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))
    yield from _robots(snapshot["clients"], labels)
    if "replicas" in snapshot:
        yield from _replicas(snapshot["replicas"])


def _robots(clients: Iterable[Mapping[str, Any]], labels: LabelValues) -> Iterator[Metric]:
    """What the clients tell about their robots; those of one name count as one robot."""
    # By name: a robot that has connected anew is listed twice for a minute; its last word counts.
    robots = {
        client["info"]["robot"] or client["peer"]: client["info"]
        for client in sorted(clients, key=lambda client: -client["idle_s"])
        if client["info"] is not None
    }.items()
    states = (((robot, info["state"], info["task"]), 1) for robot, info in robots)
    yield _robot_metric(
        GaugeMetricFamily,
        "state",
        "Robots, by what they do",
        ("robot", "state", "task"),
        states,
        labels,
    )
    for name, text, label in (
        ("outcomes", "Ended tasks of a robot, by outcome", "outcome"),
        ("holds", "Times that a robot came to hold, by reason", "reason"),
    ):
        counts = (((robot, value), n) for robot, info in robots for value, n in info[name].items())
        yield _robot_metric(CounterMetricFamily, name, text, ("robot", label), counts, labels)


def _robot_metric(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    names: tuple[str, ...],
    counts: Iterable[tuple[tuple[str, ...], int]],
    labels: LabelValues,
) -> Metric:
    """A metric of all robots; counts whose labels became the same are added up."""
    sums: Counter[tuple[str, ...]] = Counter()
    for values, count in counts:
        sums[tuple(map(labels.bounded, names, values))] += count
    metric = family(f"{PREFIX}_robot_{name}", text, labels=names)
    for values, total in sums.items():
        metric.add_metric(values, float(total))
    return metric


def _replicas(counted: Mapping[str, Any]) -> Iterator[Metric]:
    states = GaugeMetricFamily(f"{PREFIX}_replicas", "Replicas, by state", labels=["state"])
    for state in ("ready", "loading", "restarting", "failed"):
        states.add_metric([state], counted[state])
    yield states
    for name, text in (
        ("deaths", "Replicas that died"),
        ("retries", "Retried requests"),
    ):
        yield CounterMetricFamily(f"{PREFIX}_replica_{name}", text, value=counted[name])


def _histogram(name: str, text: str, histogram: Mapping[str, Any]) -> HistogramMetricFamily:
    total = 0
    buckets = []
    bounds = [*(f"{bound:g}" for bound in histogram["bounds"]), "+Inf"]
    for bound, count in zip(bounds, histogram["counts"], strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram["sum"])
