# SPDX-License-Identifier: Apache-2.0
"""The end of a server: by ``kill`` or `stop`, also while a request is in progress."""

import threading
from typing import Any

import msgpack
import pytest
import zmq
from peers.stock import StockClient
from server_rig import RUNNING, serving, wait_until
from toy_policy import ToyPolicy

from gr00t_policy_core import (
    AddressError,
    ClosedError,
    PolicyClient,
    PolicyServer,
    PolicyTimeoutError,
)


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
        server.register_endpoint("later", lambda: None, requires_input=False)
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


@pytest.fixture
def stopping_server():
    """A server that has begun to stop, and ends with the fixture: a request is in progress."""
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        release.wait(60)

    with serving(stop_timeout_s=60) as server:
        server.register_endpoint("block", block, requires_input=False)
        asking = threading.Thread(target=_ask, args=(server.port, "block"))
        asking.start()
        assert entered.wait(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        with PolicyClient("127.0.0.1", server.port) as client:
            wait_until(lambda: client.send_request("ping")["status"] == "error")
        yield server
        release.set()
        stopping.join(10)
        asking.join(10)


def test_ping_says_of_a_stopping_server_that_it_does_not_answer(stopping_server):
    with PolicyClient("127.0.0.1", stopping_server.port) as client:
        assert client.ping() is False


def test_who_waits_for_a_stopping_server_waits_for_its_successor(stopping_server):
    with (
        PolicyClient("127.0.0.1", stopping_server.port) as client,
        pytest.raises(PolicyTimeoutError, match=r"not ready within 0\.5 s \(it is stopping\)"),
    ):
        client.wait_until_ready(0.5)


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


def _ask(port: int, endpoint: str) -> None:
    with PolicyClient("127.0.0.1", port, timeout_ms=60_000) as client:
        client.send_request(endpoint)


def _port_is_free(port: int) -> bool:
    try:
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=port).stop()
    except AddressError:
        return False
    return True


def _assert_port_is_free(port: int) -> None:
    assert _port_is_free(port)
