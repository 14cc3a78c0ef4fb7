# SPDX-License-Identifier: Apache-2.0
"""What a server tells of itself: in its endpoint ``metrics``, to Prometheus, in every action."""

import sys
import threading
import urllib.request
from typing import Any

import msgpack
import pytest
import zmq
from peers.stock import StockClient
from server_rig import wait_until
from toy_policy import ToyPolicy, toy_observation, untimed

from gr00t_policy_core import AddressError, MsgSerializer, PolicyClient, PolicyServer
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.metrics import MAX_CLIENTS, Histogram, Metrics, quantile
from gr00t_policy_core.serving.transport.base import Message


def ask(sockets: zmq.Context, port: int, request: Any) -> Any:
    asking = sockets.socket(zmq.REQ)
    asking.connect(f"tcp://127.0.0.1:{port}")
    asking.send(MsgSerializer.to_bytes(request))
    assert asking.poll(10_000), "no reply"
    return msgpack.unpackb(asking.recv())


def test_everything_that_happens_is_counted(server, client, sockets):
    observation = toy_observation()
    for _ in range(3):
        client.get_action(observation)
    client.send_request("get_action", {"observation": {}})
    client.send_request("nope")
    told = client.call_endpoint("metrics")
    assert told["requests"] == {"get_modality_config": 1, "get_action": 4, "metrics": 1}
    assert told["errors"] == {"SpecError": 1, "PolicyError": 1}
    assert told["batch_size"]["counts"][0] == 3
    assert told["queue_s"]["count"] == told["inference_s"]["count"] == 3
    assert told["received_bytes"] > 3 * observation["video"]["front"].nbytes
    assert told["sent_bytes"] > 0
    assert told["state"] == "ready"
    assert told["waiting"] == {"requests": 0, "bytes": 0}
    assert told["open_to_network"] is False
    (me,) = told["clients"]
    assert me["peer"] == "127.0.0.1"
    assert me["answers"] == 3
    assert me["errors"] == 2


def test_metrics_are_answered_during_a_long_inference(server, client):
    entered, release = threading.Event(), threading.Event()

    def long_inference():
        entered.set()
        release.wait(20)

    server.register_endpoint("long", long_inference, requires_input=False)
    with PolicyClient("127.0.0.1", server.port) as other:
        asking = threading.Thread(target=lambda: other.call_endpoint("long"))
        asking.start()
        try:
            assert entered.wait(10)
            assert client.call_endpoint("metrics")["in_progress"] == "long"
        finally:
            release.set()
            asking.join()


def test_metrics_need_the_token(sockets):
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, api_token="s3cret") as server:
        assert "Unauthorized" in ask(sockets, server.port, {"endpoint": "metrics"})["error"]
        request = {"endpoint": "metrics", "api_token": "s3cret"}
        assert ask(sockets, server.port, request)["state"] == "ready"


def test_metrics_tell_that_anybody_may_come_in():
    with PolicyServer(ToyPolicy(), port=0) as server:
        assert server.metrics()["open_to_network"] is True


def test_prometheus_reads_the_metrics():
    pytest.importorskip("prometheus_client", reason="pip install '.[metrics]'")
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, metrics_port=0) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        client.get_action(toy_observation())
        client.send_request("nope")
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            lines = page.read().decode().splitlines()
    assert 'gr00t_policy_requests_total{endpoint="get_action"} 1.0' in lines
    assert 'gr00t_policy_errors_total{kind="PolicyError"} 1.0' in lines
    assert 'gr00t_policy_batch_size_bucket{le="1"} 1.0' in lines
    assert 'gr00t_policy_inference_seconds_bucket{le="+Inf"} 1.0' in lines
    assert "gr00t_policy_queue_seconds_count 1.0" in lines
    assert "gr00t_policy_clients 1.0" in lines
    assert "gr00t_policy_ready 1.0" in lines
    assert "gr00t_policy_open_to_network 0.0" in lines


def test_a_metrics_port_in_use_leaves_nothing_behind(server):
    pytest.importorskip("prometheus_client", reason="pip install '.[metrics]'")
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, metrics_port=0) as first,
        pytest.raises(AddressError, match="cannot serve metrics"),
    ):
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, metrics_port=first.metrics_port)


def test_the_extra_is_named_where_prometheus_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "gr00t_policy_core.serving.server.prometheus", raising=False)
    with pytest.raises(ImportError, match=r"\.\[metrics\]"):
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, metrics_port=0)


# Timing


def test_every_answer_tells_network_from_model(line):
    class Timed(ToyPolicy):
        def _get_action(self, observation, options=None):
            action, info = super()._get_action(observation, options)
            return action, {**info, "timing": {"backbone": 0.25, "total": 0.5}}

    with (
        PolicyServer(Timed(), host="127.0.0.1", port=0) as server,
        StockClient(line, server.port) as client,
    ):
        _, info = client.call("get_action", data={"observation": toy_observation()})
        timing = info["timing"]
        assert timing["backbone"] == 0.25
        assert timing["total"] == 0.5
        assert 0 <= timing["queue_s"] < timing["total_s"]
        assert 0 < timing["inference_s"] <= timing["total_s"]


def test_the_policys_time_is_told_where_it_does_not_tell_it(client):
    _, info = client.get_action(toy_observation())
    assert untimed(info).keys() == {"options", "prompt"}
    assert info["timing"]["total"] == info["timing"]["inference_s"]


# The parts


def test_a_histogram_counts_up_to_its_bounds():
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 3):
        histogram.add(value)
    assert histogram.as_dict() == {"bounds": [1, 2], "counts": [2, 2, 1], "sum": 8.0, "count": 5}
    assert quantile(histogram.as_dict(), 0.4) == 1
    assert quantile(histogram.as_dict(), 0.8) == 2
    assert quantile(histogram.as_dict(), 0.9) == float("inf")
    assert quantile(Histogram((1, 2)).as_dict(), 0.5) == 0


def test_clients_without_end_take_no_memory_without_end():
    metrics = Metrics()
    for number in range(MAX_CLIENTS + 100):
        message = Message([str(number).encode()], None, "", "127.0.0.1")
        metrics.request(message, "ping")
    assert len(metrics.snapshot()["clients"]) == MAX_CLIENTS


def test_repeated_failures_of_a_peer_are_logged_ever_less(caplog):
    log = FailureLog(Metrics())
    for _ in range(100):
        log.report("a request", "192.0.2.1", ValueError("again"))
    log.report("a request", "192.0.2.2", ValueError("another peer"))
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 8  # 1, 2, 4 … 64, and the other's first
    assert "(64 failures of this peer so far)" in errors[-2]
    assert "192.0.2.2" in errors[-1]


def test_failures_without_end_reach_the_log_as_few_lines(server, sockets, caplog):
    dealer = sockets.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{server.port}")
    for _ in range(500):
        dealer.send_multipart([b"", b"garbage"])
        assert dealer.poll(10_000)
        dealer.recv_multipart()
    wait_until(lambda: server.metrics()["errors"].get("ProtocolError") == 500)
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 9


def test_prometheus_reads_the_replicas():
    pytest.importorskip("prometheus_client", reason="pip install '.[metrics]'")
    from gr00t_policy_core.serving.server.prometheus import LabelValues, families

    states = {"ready": 3, "loading": 0, "restarting": 1, "failed": 0}
    counted = {"size": 4, **states, "deaths": 2, "retries": 1, "calls": [1, 2, 3, 4]}
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0) as server:
        snapshot = {**server.metrics(), "replicas": counted}
    samples = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in families(snapshot, LabelValues())
        for sample in family.samples
    }
    assert {state: samples["gr00t_policy_replicas", state] for state in states} == states
    assert samples["gr00t_policy_replica_deaths_total", None] == 2
    assert samples["gr00t_policy_replica_retries_total", None] == 1
