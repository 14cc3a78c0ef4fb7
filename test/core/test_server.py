# SPDX-License-Identifier: Apache-2.0
"""The policy server, asked by clients of both lines of Isaac-GR00T and by hand-made sockets."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from conftest import wait_until
from peers.stock import StockClient
from toy_policy import (
    HORIZON,
    PROMPT_KEY,
    ToyPolicy,
    expected_action,
    toy_observation,
    untimed,
)

from gr00t_policy_core import (
    AddressError,
    ClosedError,
    MsgSerializer,
    PolicyClient,
    PolicyServer,
    SpecError,
)

RUNNING = {"status": "ok", "message": "Server is running"}


@contextlib.contextmanager
def serving(policy: Any = None, **settings: Any) -> Iterator[PolicyServer]:
    with PolicyServer(policy or ToyPolicy(), host="127.0.0.1", port=0, **settings) as running:
        yield running


@pytest.fixture
def stock(line, server) -> Iterator[StockClient]:
    with StockClient(line, server.port) as connected:
        yield connected


@pytest.fixture
def ask(sockets):
    """One request from a fresh socket, decoded without our code: ``ask(server, {...})``."""

    def send(server: PolicyServer, *frames: Any) -> Any:
        asking = sockets.socket(zmq.REQ)
        asking.connect(f"tcp://127.0.0.1:{server.port}")
        packed = [f if isinstance(f, bytes) else MsgSerializer.to_bytes(f) for f in frames]
        asking.send_multipart(packed)
        assert asking.poll(10_000), "no reply"
        return msgpack.unpackb(asking.recv())

    return send


# Stock clients


def test_a_stock_client_gets_actions_in_its_own_dialect(stock):
    observation = toy_observation()
    action, info = stock.call("get_action", data={"observation": observation, "options": None})
    assert untimed(info) == {"options": None, "prompt": "pick up the apple"}
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)


def test_a_stock_client_gets_the_very_replies_of_its_own_server(golden, line, server, sockets):
    for name in ("ping", "kill"):
        asking = sockets.socket(zmq.REQ)
        asking.connect(f"tcp://127.0.0.1:{server.port}")
        asking.send(golden(line.name, f"{name}_request"))
        assert asking.poll(10_000)
        assert asking.recv() == golden(line.name, f"{name}_reply")


def test_the_golden_request_of_each_line_is_answered(golden, golden_arrays, line, server, sockets):
    asking = sockets.socket(zmq.REQ)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(golden(line.name, "get_action_request"))
    assert asking.poll(10_000)
    action, _ = line.unpack(asking.recv())
    expected = np.repeat(golden_arrays["state/single_arm"], HORIZON, axis=1)
    np.testing.assert_array_equal(action["single_arm"], expected)


def test_a_stock_client_reads_modality_configs_before_its_dialect_is_known(stock):
    configs = stock.call("get_modality_config")
    assert configs["video"].modality_keys == ["front", "wrist"]
    assert configs["action"].action_configs[0]["rep"] == "ABSOLUTE"


def test_the_dialect_of_a_client_is_remembered(line, server, sockets):
    with StockClient(line, server.port) as client:
        assert _markers(client.send(msgpack.packb({"endpoint": "get_modality_config"}))) == {
            "__ModalityConfig_class__",
            "__ModalityConfig__",
        }
        client.call("get_action", data={"observation": toy_observation()})
        reply = client.send(msgpack.packb({"endpoint": "get_modality_config"}))
        assert _markers(reply) == {line.config_marker}


def test_a_stock_client_resets_and_sees_errors(stock):
    assert stock.call("reset", data={"options": {"episode_index": 5}}) == {
        "options": {"episode_index": 5}
    }
    reply = stock.call("get_action", data={"observation": {}})
    assert reply["status"] == "error"
    assert "video: expected a dict" in reply["error"]
    assert stock.call("ping") == RUNNING


def test_a_missing_endpoint_means_get_action(stock):
    action, _ = stock.call(None, data={"observation": toy_observation()})
    assert action["gripper"].shape == (1, HORIZON, 1)


def test_the_data_may_be_the_observation_itself(stock):
    observation = toy_observation()
    action, _ = stock.call("get_action", data=observation)
    np.testing.assert_array_equal(action["gripper"], expected_action(observation)["gripper"])


def test_the_data_may_be_a_flat_observation(line):
    class FlatPolicy(ToyPolicy):
        def get_action(self, observation, options=None):
            return {"action.x": observation["state.x"]}, {"prompt": observation[PROMPT_KEY]}

    with serving(FlatPolicy()) as server, StockClient(line, server.port) as client:
        flat = {"state.x": np.ones((1, 1, 2), np.float32), PROMPT_KEY: ["go"]}
        action, info = client.call("get_action", data=flat)
        np.testing.assert_array_equal(action["action.x"], flat["state.x"])
        assert untimed(info) == {"prompt": ["go"]}


def test_dimensions_are_told(stock):
    assert stock.call("get_dimensions")["state"] == {"single_arm": 5, "gripper": 1}


# The two forms of a reply


def test_a_client_that_asks_for_the_envelope_gets_it(server, ask):
    reply = ask(server, {"endpoint": "ping", "envelope": True})
    assert reply["status"] == "success"
    assert RUNNING.items() <= reply["data"].items()


@pytest.mark.parametrize("asked", [False, None, 1, "true", [True]])
def test_only_true_asks_for_the_envelope(server, ask, asked):
    assert ask(server, {"endpoint": "ping", "envelope": asked}) == RUNNING


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize(
    ("form", "reply"),
    [("envelope", {"status": "success", "data": {"options": 1}}), ("bare", {"options": 1})],
)
def test_one_form_can_be_forced_for_every_client(ask, form, reply, envelope):
    with serving(reply_format=form) as server:
        request = {"endpoint": "reset", "envelope": envelope, "data": {"options": 1}}
        assert ask(server, request) == reply
        error = ask(server, {"endpoint": "nope", "envelope": envelope})
        assert error.keys() == {"status", "error"}
        assert error["status"] == "error"


def test_an_unknown_form_is_refused():
    with pytest.raises(SpecError, match="reply_format must be one of"):
        PolicyServer(ToyPolicy(), port=0, reply_format="xml")


# Endpoints


def one(data):
    return {"data": data}


def two(a, b=2):
    return {"a": a, "b": b}


def none():
    return "nothing"


def anything(**entries):
    return entries


def defaults(a=1, b=2):
    return {"a": a, "b": b}


def keyword_only(*, a):
    return {"a": a}


@pytest.mark.parametrize(
    ("handler", "data", "result"),
    [
        (one, {"x": 1}, {"data": {"x": 1}}),
        (one, {}, {"data": {}}),
        (one, {"data": 5}, {"data": 5}),
        (one, {"data": 5, "x": 1}, {"data": {"data": 5, "x": 1}}),
        (one, [1, 2], {"data": [1, 2]}),
        (one, "text", {"data": "text"}),
        (one, {b"bytes": 1}, {"data": {b"bytes": 1}}),
        (two, {"a": 1}, {"a": 1, "b": 2}),
        (two, {"a": 1, "b": 3}, {"a": 1, "b": 3}),
        (two, {"x": 1}, {"a": {"x": 1}, "b": 2}),
        (two, 7, {"a": 7, "b": 2}),
        (none, {}, "nothing"),
        (anything, {"x": 1}, {"x": 1}),
        (defaults, None, {"a": 1, "b": 2}),
        (defaults, {"b": 3}, {"a": 1, "b": 3}),
        (keyword_only, {"a": 1}, {"a": 1}),
        (dict, {"x": 1}, {"x": 1}),
    ],
)
def test_a_handler_gets_entries_where_it_takes_them_else_the_data(
    server, client, handler, data, result
):
    server.register_endpoint("custom", handler)
    assert client.call_endpoint("custom", data) == result


@pytest.mark.parametrize(
    ("handler", "data", "says"),
    [
        (one, None, "it needs data"),
        (two, {"b": 1}, "field 'a' is missing"),
        (two, {"a": 1, "c": 3}, "unexpected field 'c' (it takes a, b)"),
        (none, {"x": 1}, "unexpected field 'x'"),
        (none, [1], "data must be a map"),
        (keyword_only, {"b": 1}, "field 'a' is missing; unexpected field 'b'"),
        (keyword_only, 5, "data must be a map of a, got int"),
    ],
)
def test_data_that_do_not_fit_are_refused_by_field(server, client, handler, data, says):
    server.register_endpoint("custom", handler)
    reply = client.send_request("custom", data)
    assert reply["status"] == "error"
    assert says in reply["error"]


def test_a_handler_without_input_is_called_without_the_data(server, client):
    server.register_endpoint("custom", none, requires_input=False)
    assert client.call_endpoint("custom", {"x": 1}) == "nothing"


def test_an_endpoint_can_be_taken_over(server, client):
    server.register_endpoint("ping", lambda: "mine", requires_input=False)
    assert client.call_endpoint("ping") == "mine"


def test_arrays_reach_a_handler_read_only(server, client):
    server.register_endpoint("flags", lambda a: bool(a.flags.writeable))
    assert client.call_endpoint("flags", {"a": np.ones(3)}) is False


@pytest.mark.parametrize("name", ["", 3])
def test_an_endpoint_needs_a_name(server, name):
    with pytest.raises(SpecError, match="non-empty str"):
        server.register_endpoint(name, none)


def test_an_endpoint_needs_a_handler(server):
    with pytest.raises(SpecError, match="not callable"):
        server.register_endpoint("x", "handler")


def test_a_serializer_of_ones_own_carries_ones_own_classes():
    class ComplexSerializer(MsgSerializer):
        @staticmethod
        def encode_custom_classes(obj):
            return {"re": obj.real, "im": obj.imag} if isinstance(obj, complex) else obj

        @staticmethod
        def decode_custom_classes(obj):
            return complex(obj["re"], obj["im"]) if "im" in obj else obj

    with (
        serving(serializer=ComplexSerializer) as server,
        PolicyClient("127.0.0.1", server.port, serializer=ComplexSerializer) as client,
    ):
        server.register_endpoint("conjugate", lambda z: z.conjugate())
        assert client.call_endpoint("conjugate", {"z": 1 + 2j}) == 1 - 2j


# The token


@pytest.mark.parametrize(
    "token", [..., None, "", "wrong", "s3cret2", 5, True, ["s3cret"], {"a": 1}]
)
def test_a_wrong_token_lets_nobody_in_and_nothing_of_the_data_is_decoded(ask, token):
    class Watched(MsgSerializer):
        decoded = 0

        @classmethod
        def decode(cls, buffer, *, writable=False):
            cls.decoded += 1
            return super().decode(buffer, writable=writable)

    with serving(api_token="s3cret", serializer=Watched) as server:
        request = {"endpoint": "reset", "data": {"options": {"__ndarray_class__": "malformed"}}}
        if token is not ...:
            request["api_token"] = token
        assert ask(server, request) == {
            "status": "error",
            "error": "Unauthorized: Invalid API token",
        }
        assert Watched.decoded == 0
        assert ask(server, {**request, "endpoint": "nope"})["error"].startswith("Unauthorized")
        assert ask(server, {**request, "endpoint": "kill"})["error"].startswith("Unauthorized")
        assert ask(server, {"endpoint": "ping", "api_token": "s3cret"}) == RUNNING


def test_a_token_of_any_text_is_compared(ask):
    with serving(api_token="schlüssel") as server:
        assert ask(server, {"endpoint": "ping", "api_token": "schlüssel"}) == RUNNING
        assert "Unauthorized" in ask(server, {"endpoint": "ping", "api_token": "x"})["error"]


def test_a_stock_client_shows_its_token(line):
    with (
        serving(api_token="s3cret") as server,
        StockClient(line, server.port, api_token="s3cret") as client,
    ):
        assert client.call("ping") == RUNNING


@pytest.mark.parametrize("token", ["", b"bytes", 5])
def test_a_token_that_protects_nothing_is_refused(token):
    with pytest.raises(SpecError, match="api_token"):
        PolicyServer(ToyPolicy(), port=0, api_token=token)


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("*", None, True), ("*", "s3cret", False), ("127.0.0.1", None, False)],
)
def test_a_server_open_to_the_network_without_a_token_says_so(caplog, host, token, warned):
    with (
        PolicyServer(ToyPolicy(), host=host, port=0, api_token=token) as server,
        PolicyClient("127.0.0.1", server.port, api_token=token) as client,
    ):
        assert client.ping()
    assert ("open to the network" in caplog.text) is warned


# Sockets


def test_a_dealer_with_any_envelope_gets_its_envelope_back(server, sockets):
    dealer = sockets.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{server.port}")
    ping = msgpack.packb({"endpoint": "ping"})
    for envelope in ([], [b""], [b"id", b""], [b"a", b"b", b""]):
        dealer.send_multipart([*envelope, ping])
        assert dealer.poll(10_000)
        *returned, reply = dealer.recv_multipart()
        assert returned == envelope
        assert msgpack.unpackb(reply) == RUNNING


def test_a_correlating_req_client_is_answered(server, sockets):
    asking = sockets.socket(zmq.REQ)
    asking.setsockopt(zmq.REQ_CORRELATE, 1)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(msgpack.packb({"endpoint": "ping"}))
    assert asking.poll(10_000)
    assert msgpack.unpackb(asking.recv()) == RUNNING


def test_requests_are_answered_one_at_a_time_and_each_to_its_own_client():
    running: list[int] = []
    most: list[int] = []

    def handle(number):
        running.append(number)
        most.append(len(running))
        running.remove(number)
        return number

    def ask_often(port, numbers, answers):
        with PolicyClient("127.0.0.1", port) as client:
            answers.extend(client.call_endpoint("echo", {"number": n}) for n in numbers)

    with serving() as server:
        server.register_endpoint("echo", handle)
        asked = [list(range(start, start + 50)) for start in (0, 100, 200, 300)]
        answered: list[list[int]] = [[] for _ in asked]
        threads = [
            threading.Thread(target=ask_often, args=(server.port, *pair))
            for pair in zip(asked, answered, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answered == asked
    assert max(most) == 1


def test_ping_is_answered_during_a_long_inference(server, client):
    entered, release = threading.Event(), threading.Event()

    def long_inference():
        entered.set()
        release.wait(20)
        return "done"

    server.register_endpoint("long", long_inference, requires_input=False)
    answers = []

    def ask():
        with PolicyClient("127.0.0.1", server.port) as other:
            answers.append(other.call_endpoint("long"))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert entered.wait(10)
        assert client.ping()
        assert not answers
    finally:
        release.set()
        asking.join()
    assert answers == ["done"]


def test_every_interface_is_listened_on_by_default():
    with PolicyServer(ToyPolicy(), port=0) as server:
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.ping()
        with PolicyClient("localhost", server.port) as client:
            assert client.ping()


def test_localhost_can_be_listened_on():
    with (
        PolicyServer(ToyPolicy(), host="localhost", port=0) as server,
        PolicyClient("localhost", server.port) as client,
    ):
        assert client.ping()


def test_an_address_in_use_is_named_with_what_to_do(server):
    with pytest.raises(AddressError, match=rf"127\.0\.0\.1:{server.port}.*another port"):
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=server.port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(AddressError, match=r"192\.0\.2\.1"):
        PolicyServer(ToyPolicy(), host="192.0.2.1", port=0)


# Life


def test_run_answers_until_a_client_kills_it(line):
    server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=0)
    running = threading.Thread(target=server.run)
    running.start()
    with StockClient(line, server.port) as client:
        assert client.call("ping") == RUNNING
        assert client.call("kill") is None
    running.join(10)
    assert not running.is_alive()
    _assert_port_is_free(server.port)


def test_stop_ends_run_in_another_thread():
    server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=0)
    running = threading.Thread(target=server.run)
    running.start()
    with PolicyClient("127.0.0.1", server.port) as client:
        assert client.ping()
    server.stop()
    running.join(10)
    assert not running.is_alive()
    server.stop()
    _assert_port_is_free(server.port)


def test_a_server_that_never_ran_can_be_stopped():
    server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=0)
    server.stop()
    _assert_port_is_free(server.port)
    with pytest.raises(ClosedError):
        server.start()
    with pytest.raises(ClosedError):
        server.run()


def test_a_handler_can_stop_the_server_and_is_still_answered():
    with serving() as server:
        server.register_endpoint("stop", lambda: server.stop() or "bye", requires_input=False)
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.call_endpoint("stop") == "bye"
        wait_until(lambda: _port_is_free(server.port))


def test_stop_finishes_the_request_in_progress_and_refuses_the_waiting_ones():
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        release.wait(20)
        return "finished"

    replies: dict[str, Any] = {}

    def ask(name):
        with PolicyClient("127.0.0.1", server.port) as client:
            replies[name] = client.send_request(name)

    with serving(stop_timeout_s=20) as server:
        server.register_endpoint("block", block, requires_input=False)
        server.register_endpoint("later", none, requires_input=False)
        threads = [threading.Thread(target=ask, args=(name,)) for name in ("block", "later")]
        threads[0].start()
        assert entered.wait(10)
        threads[1].start()
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.ping()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        threads[1].join(10)
        release.set()
        threads[0].join(10)
        stopping.join(10)
    assert replies["block"] == {"status": "success", "data": "finished"}
    assert replies["later"] == {"status": "error", "error": "the server is stopping"}


def test_a_hanging_handler_does_not_hang_stop(caplog, sockets):
    entered, release = threading.Event(), threading.Event()

    def hang():
        entered.set()
        release.wait(30)

    with serving(stop_timeout_s=0.1) as server:
        server.register_endpoint("hang", hang, requires_input=False)
        asking = sockets.socket(zmq.REQ)
        asking.connect(f"tcp://127.0.0.1:{server.port}")
        asking.send(msgpack.packb({"endpoint": "hang"}))
        assert entered.wait(10)
        server.stop()
        assert not release.is_set()
        _assert_port_is_free(server.port)
        release.set()
    assert "hang has not returned" in caplog.text


# What the log says


def test_failures_are_logged_without_the_payload(server, client, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "a text that nobody else may read"
    server.register_endpoint("fails", lambda text, image: 1 / 0)
    reply = client.send_request("fails", {"text": secret, "image": np.full(100, 7)})
    assert reply == {"status": "error", "error": "ZeroDivisionError: division by zero"}
    client.send_request("nope", {"text": secret})
    client.send_request("get_action", {"text": secret})
    wait_until(lambda: "Unknown endpoint" in caplog.text)
    assert "fails from 127.0.0.1 failed: ZeroDivisionError" in caplog.text
    assert secret not in caplog.text
    assert "7 7 7" not in caplog.text


def test_errors_tell_clients_no_paths_and_no_tracebacks(server, client):
    def read_file():
        with open("/nonexistent/private/file") as file:
            return file.read()

    server.register_endpoint("reads", read_file, requires_input=False)
    reply = client.send_request("reads")
    assert reply["error"] == "FileNotFoundError: No such file or directory"


def _markers(reply: bytes) -> set[str]:
    return set(msgpack.unpackb(reply)["video"]) - {"as_json"}


def _port_is_free(port: int) -> bool:
    try:
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=port).stop()
    except AddressError:
        return False
    return True


def _assert_port_is_free(port: int) -> None:
    assert _port_is_free(port)
