# SPDX-License-Identifier: Apache-2.0
"""Servers that are missing, hang, die and restart: every call ends, and the next one works."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from server_rig import wait_until
from toy_policy import expected_action, toy_observation

import gr00t_policy_core
from gr00t_policy_core import ClosedError, PolicyClient, PolicyTimeoutError
from gr00t_policy_core.serving.client import connection
from gr00t_policy_core.serving.transport import tcp_client

SERVE = Path(__file__).resolve().parents[2] / "peers" / "serve.py"
SLACK_S = 60.0  # for a machine that is busy with other things


@pytest.fixture
def nobody():
    """A port that is taken and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent(sockets):
    """A server that takes requests and answers only when told to."""
    return Silent(sockets.socket(zmq.ROUTER))


class Silent:
    def __init__(self, router):
        self.router = router
        self.port = router.bind_to_random_port("tcp://127.0.0.1")

    def receive(self):
        assert self.router.poll(10_000), "no request"
        return self.router.recv_multipart()

    def answer(self, request, answer):
        self.router.send_multipart([*request[:-1], msgpack.packb(answer)])


def environment():
    """So that a child finds the same package, wherever it is run from."""
    paths = [str(Path(gr00t_policy_core.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Served:
    """A policy server in a process of its own."""

    def __init__(self, port=0):
        self.process = subprocess.Popen(
            [sys.executable, str(SERVE), str(port)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.port = int(self.line())

    def line(self):
        return self.process.stdout.readline().strip()

    def end(self, signal_number):
        self.process.send_signal(signal_number)
        return self.process.wait(20)

    def freeze(self):
        """Stop it, and return when all of its threads stand still."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def run_python(program, *arguments):
    """Run a program that must end by itself, and return what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ping_is_false_however_often_when_nobody_is_there(nobody):
    with PolicyClient("127.0.0.1", nobody, timeout_ms=50) as client:
        for _ in range(5):
            started_at = time.monotonic()
            assert client.ping() is False
            assert time.monotonic() - started_at < 0.05 + SLACK_S


def test_ping_is_false_however_often_when_a_server_is_silent(silent):
    with PolicyClient("127.0.0.1", silent.port, timeout_ms=50) as client:
        assert [client.ping() for _ in range(5)] == [False] * 5


def test_ping_is_false_for_a_server_of_something_else():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with PolicyClient("127.0.0.1", port, timeout_ms=100) as client:
            assert client.ping() is False


@pytest.mark.parametrize(
    ("endpoint", "call"),
    [
        ("get_modality_config", lambda client: client.get_modality_config()),
        ("get_modality_config", lambda client: client.get_action(toy_observation())),
        ("get_modality_config", lambda client: client.check_observation({})),
        ("get_modality_config", lambda client: client.check_action({})),
        ("get_dimensions", lambda client: client.get_dimensions()),
        ("reset", lambda client: client.reset()),
        ("kill", lambda client: client.kill_server()),
        ("any", lambda client: client.call_endpoint("any")),
        ("any", lambda client: client.send_request("any")),
    ],
)
def test_every_call_ends_with_an_error_that_names_the_server(silent, endpoint, call):
    with PolicyClient("127.0.0.1", silent.port, timeout_ms=60) as client:
        for _ in range(2):
            with pytest.raises(PolicyTimeoutError) as raised:
                call(client)
            assert isinstance(raised.value, TimeoutError)
            assert f"127.0.0.1:{silent.port} {endpoint}: " in str(raised.value)
            assert "60 ms" in str(raised.value)


def test_what_get_action_asks_first_counts_against_its_timeout(server, monkeypatch):
    left_ms = {}

    def slow_configs():
        threading.Event().wait(0.5)
        return {}

    server.register_endpoint("get_modality_config", slow_configs, requires_input=False)
    with PolicyClient("127.0.0.1", server.port, timeout_ms=60_000) as client:
        exchange = client._protocol.exchange

        def noted(endpoint, data, info, deadline):
            left_ms[endpoint] = deadline.remaining_ms
            return exchange(endpoint, data, info, deadline)

        monkeypatch.setattr(client._protocol, "exchange", noted)
        client.get_action(toy_observation())
    assert left_ms["get_action"] < 59_500


def test_a_thread_that_waits_for_its_turn_gives_up_in_time(silent):
    client = PolicyClient("127.0.0.1", silent.port, timeout_ms=400)
    errors = []

    def ask():
        with pytest.raises(PolicyTimeoutError) as raised:
            client.reset()
        errors.append(str(raised.value))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(0.4 + SLACK_S)
    assert len(errors) == 3
    client.close()


def test_closing_ends_the_wait_for_a_server_that_is_not_there(nobody, monkeypatch):
    monkeypatch.setattr(connection, "RECONNECT_S", 60.0)
    client = PolicyClient("127.0.0.1", nobody, timeout_ms=60_000)
    errors = []

    def ask():
        with pytest.raises(ClosedError) as raised:
            client.reset()
        errors.append(str(raised.value))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    wait_until(client._protocol._connection._lock.locked)
    client.close()
    asking.join(SLACK_S)
    assert errors == [f"127.0.0.1:{nobody} reset: the client was closed"]


def test_a_late_answer_is_never_taken_for_another(silent):
    with PolicyClient("127.0.0.1", silent.port, timeout_ms=300) as client:
        with pytest.raises(PolicyTimeoutError):
            client.call_endpoint("first")
        late = silent.receive()
        client.timeout_ms = 60_000
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.call_endpoint("second")))
        asking.start()
        current = silent.receive()
        assert msgpack.unpackb(current[-1])["endpoint"] == "second"
        silent.answer(late, "the first answer")
        silent.answer(current, "the second answer")
        asking.join()
    assert answers == ["the second answer"]


def test_a_client_that_was_there_first_finds_the_server_that_comes_later(nobody):
    with PolicyClient("127.0.0.1", nobody, timeout_ms=50) as client:
        assert client.ping() is False
    with Served() as served, PolicyClient("127.0.0.1", served.port, timeout_ms=10_000) as client:
        assert client.ping()
        assert served.end(signal.SIGKILL) != 0
        client.timeout_ms = 50
        assert client.ping() is False
        client.timeout_ms = 10_000
        with Served(served.port):
            assert client.ping()


def test_a_server_killed_in_a_request_and_restarted_is_used_again_by_the_same_client():
    observation = toy_observation()
    with Served() as first:
        client = PolicyClient("127.0.0.1", first.port, timeout_ms=1000)
        with contextlib.closing(client):
            client.get_action(observation)
            errors = []

            def ask():
                with pytest.raises(PolicyTimeoutError) as raised:
                    client.get_action(observation, {"hang": True})
                errors.append(str(raised.value))

            asking = threading.Thread(target=ask)
            asking.start()
            assert first.line() == "hanging"
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
            asking.join(1 + SLACK_S)
            where = f"127.0.0.1:{first.port} get_action"
            assert f"{where}: no answer: the connection was lost" in errors[0]
            client.timeout_ms = 20_000
            with Served(first.port):
                action, _ = client.get_action(observation)
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)


def test_a_server_restarted_between_requests_goes_unnoticed():
    with Served() as first:
        client = PolicyClient("127.0.0.1", first.port, timeout_ms=20_000)
        with contextlib.closing(client):
            client.get_action(toy_observation())
            first.end(signal.SIGKILL)
            with Served(first.port):
                client.get_action(toy_observation())


def test_a_server_that_was_stopped_for_a_while_goes_on():
    with Served() as served, PolicyClient("127.0.0.1", served.port, timeout_ms=10_000) as client:
        assert client.ping()
        served.freeze()
        client.timeout_ms = 100
        assert client.ping() is False
        served.process.send_signal(signal.SIGCONT)
        client.timeout_ms = 10_000
        assert client.ping()


def test_a_terminated_server_ends_cleanly_even_in_a_hanging_request():
    with Served() as served, PolicyClient("127.0.0.1", served.port, timeout_ms=10_000) as client:
        client.get_modality_config()
        client.timeout_ms = 300
        with pytest.raises(PolicyTimeoutError):
            client.get_action(toy_observation(), {"hang": True})
        assert served.line() == "hanging"
        assert served.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("closed", [True, False])
def test_the_interpreter_ends_at_once_after_a_timeout(nobody, closed):
    program = """
        import sys
        from gr00t_policy_core import PolicyClient
        client = PolicyClient("127.0.0.1", int(sys.argv[1]), timeout_ms=50)
        sys.stdout.write(str(client.ping()))
        if sys.argv[2] == "True":
            client.close()
    """
    assert run_python(program, nobody, closed) == "False"


def test_the_interpreter_ends_at_once_with_an_open_client_and_a_running_server():
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from toy_policy import ToyPolicy, toy_observation
        from gr00t_policy_core import PolicyClient, PolicyServer
        server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=0).start()
        client = PolicyClient("127.0.0.1", server.port)
        client.get_action(toy_observation(height=480, width=640))
        sys.stdout.write("answered")
    """
    assert run_python(program, Path(__file__).resolve().parents[2]) == "answered"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_a_connection_of_its_own(server):
    program = """
        import os, sys
        from gr00t_policy_core import PolicyClient
        client = PolicyClient("127.0.0.1", int(sys.argv[1]), timeout_ms=10_000)
        large = bytes(1_000_000)
        assert client.reset({"x": large}) == {"options": {"x": large}}
        child = os.fork()
        answers = [client.reset({"x": child, "y": large}) for _ in range(3)]
        answered = answers == [{"options": {"x": child, "y": large}}] * 3
        if child == 0:
            os._exit(0 if answered else 1)
        _, status = os.waitpid(child, 0)
        assert answered
        sys.stdout.write(str(os.waitstatus_to_exitcode(status)))
    """
    assert run_python(program, server.port) == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("servers", [1, 2])
def test_a_child_forked_while_a_request_is_in_progress_asks_for_itself(server, servers):
    program = """
        import os, sys
        from gr00t_policy_core import PolicyClient
        client = PolicyClient(hosts=[f"127.0.0.1:{port}" for port in sys.argv[1:]])
        assert client.ping()
        client._protocol._connection._lock.acquire()  # as another thread does
        child = os.fork()
        if child == 0:
            os._exit(0 if client.ping() else 1)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(str(os.waitstatus_to_exitcode(status)))
    """
    assert run_python(program, *[server.port] * servers) == "0"


def test_an_interrupted_call_leaves_a_client_that_works(server, client, monkeypatch):
    assert client.ping()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tcp_client, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.ping()
    assert client.ping()
