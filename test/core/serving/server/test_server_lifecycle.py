# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of a server: what it answers while its policy loads, fails to load, and stops."""

import contextlib
import threading

import pytest
from peers.stock import StockClient
from server_rig import free_port, wait_until
from toy_policy import ToyPolicy, expected_action, toy_observation

from gr00t_policy_core import (
    ClosedError,
    PolicyClient,
    PolicyServer,
    PolicyTimeoutError,
    RemoteError,
)
from gr00t_policy_core.serving.server.batch_executor import BatchExecutor
from gr00t_policy_core.serving.server.execution_backend import InProcessBackend


class Loading:
    """A policy that takes its time to be made."""

    def __init__(self, error: Exception | None = None) -> None:
        self.release = threading.Event()
        self.error = error

    def __call__(self) -> ToyPolicy:
        assert self.release.wait(20)
        if self.error is not None:
            raise self.error
        return ToyPolicy()


@pytest.fixture
def loading():
    load = Loading()
    yield load
    load.release.set()


def serve(policy, **settings):
    return PolicyServer(policy, host="127.0.0.1", port=0, **settings)


def test_while_the_policy_loads_pings_say_so_and_requests_are_refused(loading, line):
    with (
        serve(loading) as server,
        StockClient(line, server.port) as stock,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        reply = {"status": "ok", "message": "Server is running", "state": "loading"}
        assert stock.call("ping") == reply
        assert client.ping()
        assert client.get_state() == "loading"
        assert client.call_endpoint("metrics")["state"] == "loading"
        with pytest.raises(RemoteError, match="still loading"):
            client.get_action(toy_observation())
        loading.release.set()
        client.wait_until_ready(10)
        del reply["state"]
        assert stock.call("ping") == reply
        observation = toy_observation()
        action, _ = client.get_action(observation)
        assert (action["gripper"] == expected_action(observation)["gripper"]).all()


def test_waiting_for_a_server_ends_with_its_time(loading):
    with serve(loading) as server, PolicyClient("127.0.0.1", server.port) as client:
        with pytest.raises(PolicyTimeoutError, match=r"not ready within 0\.3 s \(loading\)"):
            client.wait_until_ready(0.3)
        loading.release.set()
    with pytest.raises(PolicyTimeoutError, match="no answer"):
        client_of_nobody().wait_until_ready(0.3)


def client_of_nobody():
    return PolicyClient("127.0.0.1", free_port(), timeout_ms=100)


def test_waiting_ends_when_the_client_is_closed(loading):
    raised = []

    def wait():
        try:
            client.wait_until_ready(60)
        except ClosedError as error:
            raised.append(error)

    with serve(loading) as server:
        client = PolicyClient("127.0.0.1", server.port)
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: server.metrics()["requests"].get("ping", 0) > 0)
        client.close()
        waiting.join(10)
        assert raised
        loading.release.set()


def test_a_server_that_is_there_is_ready_at_once(client):
    client.wait_until_ready(10)
    assert client.get_state() == "ready"


def test_a_policy_that_cannot_be_loaded_ends_the_server_with_its_error(caplog):
    load = Loading(RuntimeError("no weights"))
    server = serve(load)
    raised = []

    def run():
        try:
            server.run()
        except RuntimeError as error:
            raised.append(str(error))

    running = threading.Thread(target=run)
    running.start()
    load.release.set()
    running.join(10)
    assert raised == ["no weights"]
    assert "no weights" not in caplog.text, "who called `run` has it"
    assert server.state == "failed"


def test_who_waits_for_a_policy_that_cannot_be_loaded_is_told_so(caplog):
    load = Loading(RuntimeError("no weights"))
    with serve(load) as server, PolicyClient("127.0.0.1", server.port) as client:
        server.register_endpoint("mine", dict, requires_input=False)

        def release_when_asked():
            wait_until(lambda: server.metrics()["waiting"]["requests"] == 1)
            load.release.set()

        releasing = threading.Thread(target=release_when_asked)
        releasing.start()
        with pytest.raises(RemoteError, match="the policy could not be loaded"):
            client.call_endpoint("mine", requires_input=False)
        releasing.join()
    wait_until(lambda: "the policy cannot be loaded: RuntimeError: no weights" in caplog.text)


def test_a_fault_of_the_server_is_told_and_costs_nobody_else_an_answer(
    server, client, monkeypatch, caplog
):
    real = BatchExecutor.execute

    def faulty(*_):
        monkeypatch.setattr(BatchExecutor, "execute", real)
        raise RuntimeError("a fault")

    monkeypatch.setattr(BatchExecutor, "execute", faulty)
    with pytest.raises(RemoteError, match="RuntimeError: a fault"):
        client.reset()
    assert client.reset() is not None
    assert "reset failed for 1 requests" in caplog.text
    wait_until(lambda: server.metrics()["in_progress"] is None)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_backend_whose_turn_fails_costs_nobody_else_an_answer(fails, caplog):
    class Fragile(InProcessBackend):
        @contextlib.contextmanager
        def turn(self, client):
            failures = [fails] if not turns else []
            turns.append(client)
            if failures == ["before"]:
                raise RuntimeError("no turn")
            yield
            if failures == ["after"]:
                raise RuntimeError("no end")

    turns = []
    with (
        serve(ToyPolicy(), backend=Fragile()) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        if fails == "before":
            with pytest.raises(RemoteError, match="RuntimeError: no turn"):
                client.get_action(toy_observation())
        for _ in range(2):
            assert client.get_action(toy_observation())
        assert len(turns) == 2 + (fails == "before")
    assert "get_action failed" in caplog.text


def test_a_server_stops_while_its_policy_still_loads(loading):
    with serve(loading, stop_timeout_s=20) as server:
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        stopping.join(5)
        assert not stopping.is_alive()


def test_an_endpoint_of_ones_own_outlives_the_loading(loading):
    with serve(loading) as server, PolicyClient("127.0.0.1", server.port) as client:
        server.register_endpoint("get_dimensions", lambda: {"mine": {}}, requires_input=False)
        loading.release.set()
        client.wait_until_ready(10)
        assert client.get_dimensions() == {"mine": {}}


def test_whoever_waits_for_the_policy_is_told_once():
    told = []
    load = Loading()
    with serve(load, on_ready=lambda: told.append(server.state)) as server:
        assert told == []
        load.release.set()
        with PolicyClient("127.0.0.1", server.port) as client:
            client.wait_until_ready(10)
            client.reset()
    assert told == ["ready"]
