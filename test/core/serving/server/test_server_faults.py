# SPDX-License-Identifier: Apache-2.0
"""Whatever one client sends, does or fails to do, the next one is answered."""

import threading

import msgpack
import numpy as np
import pytest
import zmq
from malformed import MALFORMED
from toy_policy import ToyPolicy, expected_action, toy_observation

from gr00t_policy_core import MsgSerializer, PolicyClient, PolicyServer, RemoteError

PING = msgpack.packb({"endpoint": "ping"})


def connect(sockets, port, kind=zmq.REQ, **options):
    connected = sockets.socket(kind)
    for name, value in options.items():
        connected.setsockopt(getattr(zmq, name), value)
    connected.connect(f"tcp://127.0.0.1:{port}")
    return connected


def reply_to(sockets, port, *frames):
    asking = connect(sockets, port)
    asking.send_multipart(frames)
    assert asking.poll(10_000), "no reply"
    return msgpack.unpackb(asking.recv())


def as_data(message):
    """A request that carries the bytes of another message as its data."""
    return b"\x82\xa8endpoint\xaaget_action\xa4data" + message


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_get_an_error_and_the_next_client_is_answered(
    name, sockets, server, client, caplog
):
    message = MALFORMED[name][0]
    assert reply_to(sockets, server.port, message)["status"] == "error"
    reply = reply_to(sockets, server.port, as_data(message))
    assert reply.keys() == {"status", "error"}
    assert reply["status"] == "error"
    assert reply["error"].startswith("malformed message")
    assert client.ping()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2


@pytest.mark.parametrize(
    "frames",
    [[PING, PING], [PING, b""], [b"", PING], [b"x"] * 5, [b"x"] * 1000],
    ids=["two", "one and nothing", "nothing and one", "five", "thousand"],
)
def test_several_frames_get_an_error(frames, sockets, server, client):
    assert "expected one frame" in reply_to(sockets, server.port, *frames)["error"]
    assert client.ping()


def test_an_empty_frame_gets_an_error(sockets, server, client):
    assert "ends too early" in reply_to(sockets, server.port, b"")["error"]
    dealer = connect(sockets, server.port, zmq.DEALER)
    dealer.send(b"")
    assert dealer.poll(10_000)
    assert "empty" in msgpack.unpackb(dealer.recv_multipart()[-1])["error"]
    assert client.ping()


@pytest.mark.parametrize(
    ("request_map", "says"),
    [
        ([1, 2], "expected a map"),
        ("ping", "expected a map"),
        (None, "expected a map"),
        (7, "expected a map"),
        ({"endpoint": 5}, "endpoint must be a string"),
        ({"endpoint": None}, "endpoint must be a string"),
        ({"endpoint": ["ping"]}, "endpoint must be a string"),
        ({"endpoint": {"a": 1}}, "endpoint must be a string"),
        ({"endpoint": b"ping"}, "endpoint must be a string"),
        ({"endpoint": "nope"}, "Unknown endpoint: 'nope'"),
        ({"endpoint": ""}, "Unknown endpoint: ''"),
        ({"endpoint": "x" * 10_000}, "Unknown endpoint: 'xxx"),
        ({"endpoint": "__init__"}, "Unknown endpoint"),
        ({}, "it needs data, the request has none"),
        ({"endpoint": "get_action", "data": None}, "it needs data, the request has none"),
        ({"endpoint": "get_action", "data": 5}, "expected a dict"),
        ({"endpoint": "get_action", "data": []}, "expected a dict"),
        ({"endpoint": "get_action", "data": {"options": {}}}, "field 'observation' is missing"),
        (
            {"endpoint": "get_action", "data": {"observation": {}, "extra": 1}},
            "unexpected field 'extra'",
        ),
        ({"endpoint": "get_action", "data": {"observation": 5}}, "expected a dict"),
        (
            {"endpoint": "get_action", "data": {"observation": {"video": 1, "state": []}}},
            "state: expected a dict of its keys, got list",
        ),
    ],
)
def test_requests_of_the_wrong_shape_get_an_error_that_says_so(
    request_map, says, sockets, server, client
):
    reply = reply_to(sockets, server.port, msgpack.packb(request_map))
    assert reply["status"] == "error"
    assert says in reply["error"]
    assert len(reply["error"]) < 1000
    assert client.ping()


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError("\ud800"), r"RuntimeError: \ud800"),
        (RuntimeError("long" * 10_000), "RuntimeError: longlong"),
        (UnprintableError(), "UnprintableError: unprintable"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (MemoryError(), "MemoryError"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_handlers_that_raise_get_an_error_to_their_client_alone(error, says, server, client):
    def fail():
        raise error

    server.register_endpoint("fail", fail, requires_input=False)
    reply = client.send_request("fail")
    assert reply["status"] == "error"
    assert reply["error"].startswith(says)
    assert len(reply["error"]) < 5000
    assert client.call_endpoint("reset", {"options": 1}) == {"options": 1}


@pytest.mark.parametrize("result", [object(), {1: 2}, np.array([None]), {"x": {3, 4}}, 1j])
def test_a_result_that_cannot_be_sent_is_an_error(result, server, client):
    server.register_endpoint("unsendable", lambda: result, requires_input=False)
    reply = client.send_request("unsendable")
    assert reply["status"] == "error"
    assert client.call_endpoint("reset", {"options": 1}) == {"options": 1}


def test_a_client_that_vanishes_in_its_request_costs_the_next_one_nothing(server, client):
    entered, release = threading.Event(), threading.Event()
    done: list[str] = []

    def work(text):
        entered.set()
        release.wait(20)
        done.append(text)
        return np.zeros(1000)

    server.register_endpoint("work", work)
    vanishing = zmq.Context()
    asking = connect(vanishing, server.port)
    asking.send(MsgSerializer.to_bytes({"endpoint": "work", "data": {"text": "vanished"}}))
    assert entered.wait(10)
    vanishing.destroy(linger=0)
    assert client.ping()
    release.set()
    assert client.call_endpoint("work", {"text": "next"}).shape == (1000,)
    assert done == ["vanished", "next"]


def test_clients_that_never_read_cost_the_next_one_nothing(sockets, server, client):
    server.register_endpoint("large", lambda: np.zeros(200_000, np.uint8), requires_input=False)
    greedy = connect(sockets, server.port, zmq.DEALER, RCVHWM=1, SNDHWM=0, RCVBUF=4096)
    for _ in range(2000):
        greedy.send_multipart([b"", PING])
    for _ in range(300):
        greedy.send_multipart([b"", msgpack.packb({"endpoint": "large"})])
    for _ in range(20):
        assert client.ping()
    observation = toy_observation()
    assert _answered(client, observation)


def test_a_message_larger_than_allowed_costs_its_sender_the_connection(sockets):
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, max_message_bytes=100_000) as server:
        asking = connect(sockets, server.port)
        asking.send(bytes(200_000))
        assert not asking.poll(300)
        with PolicyClient("127.0.0.1", server.port) as client:
            assert _answered(client, toy_observation())


def test_requests_beyond_the_queue_are_refused_at_once_and_the_others_answered(sockets):
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        release.wait(20)
        return "done"

    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, max_queued_requests=2) as server:
        server.register_endpoint("block", block, requires_input=False)
        request = msgpack.packb({"endpoint": "block"})
        running = connect(sockets, server.port)
        running.send(request)
        assert entered.wait(10)
        dealer = connect(sockets, server.port, zmq.DEALER)
        for _ in range(5):
            dealer.send(request)
        refused = [msgpack.unpackb(_received(dealer)) for _ in range(3)]
        assert all("busy" in reply["error"] for reply in refused)
        release.set()
        assert msgpack.unpackb(_received(running)) == "done"
        assert [msgpack.unpackb(_received(dealer)) for _ in range(2)] == ["done", "done"]


def test_wrong_tokens_without_end_cost_the_right_one_nothing():
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, api_token="s3cret") as server,
        PolicyClient("127.0.0.1", server.port, api_token="guessed") as stranger,
        PolicyClient("127.0.0.1", server.port, api_token="s3cret") as client,
    ):
        for _ in range(100):
            with pytest.raises(RemoteError, match="Unauthorized"):
                stranger.call_endpoint("get_action", {"observation": {}})
            assert _answered(client, toy_observation())
        metrics = server.metrics()
        assert metrics["errors"] == {"PolicyError": 100}
        assert metrics["requests"] == {"get_modality_config": 1, "get_action": 100}


def test_a_client_with_the_identity_of_another_takes_nothing_from_it(sockets, server):
    first = connect(sockets, server.port, IDENTITY=b"robot")
    first.send(PING)
    _received(first)
    seconds = [connect(sockets, server.port, IDENTITY=b"robot") for _ in range(20)]
    for second in seconds:
        second.send(PING)
    for _ in range(20):
        first.send(PING)
        assert b"Server is running" in _received(first)
    for asked in seconds:
        assert b"Server is running" in _received(asked)
    assert not first.poll(10)
    assert server.metrics()["requests"] == {"ping": 41}


def _received(asked):
    assert asked.poll(10_000), "no reply"
    return asked.recv()


def _answered(client, observation):
    action, _ = client.get_action(observation)
    expected = expected_action(observation)
    return all(np.array_equal(action[key], values) for key, values in expected.items())
