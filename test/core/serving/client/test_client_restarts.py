# SPDX-License-Identifier: Apache-2.0
"""What a client knows of a server holds for that server only, not for its successor."""

import contextlib
import threading

import numpy as np
import pytest
import zmq
from server_rig import free_port, wait_until
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import ModalityConfig, PolicyClient, PolicyServer
from gr00t_policy_core.serving.transport.curve_client import CurveChannel
from gr00t_policy_core.serving.transport.curve_keys import write_keys
from gr00t_policy_core.serving.transport.deadline import Deadline

pytest.importorskip("cv2")

SECURED = pytest.mark.parametrize("secured", [False, True], ids=["plain", "curve"])
HEIGHT, WIDTH = 480, 640


class Shrinking(ToyPolicy):
    """Has pictures made 64 x 64."""

    def get_capabilities(self):
        return ("resize:area:64",)


class Seeing(ToyPolicy):
    """Tells no size; remembers that of every picture that came."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _get_action(self, observation, options=None):
        self.seen.append(observation["video"]["front"].shape[-3:-1])
        return super()._get_action(observation, options)


class WithLegs(ToyPolicy):
    """The same robot, with another name for its gripper."""

    def get_modality_config(self):
        configs = super().get_modality_config()
        return {**configs, "state": ModalityConfig([0], ["single_arm", "legs"])}

    def _get_action(self, observation, options=None):
        state = dict(observation["state"])
        state["gripper"] = state.pop("legs")
        return super()._get_action({**observation, "state": state}, options)


def legged_observation():
    observation = toy_observation()
    observation["state"]["legs"] = observation["state"].pop("gripper")
    return observation


@pytest.fixture
def keys(tmp_path):
    write_keys(tmp_path, ["arm"])
    return tmp_path


def settings_of(keys, secured):
    if not secured:
        return {}, {}
    mine = {"server_key": keys / "server.key", "keys": keys / "arm.key_secret"}
    return {"keys": keys}, mine


def serve(policy, port=None, **settings):
    """At a port that nobody else gets while the server is away."""
    return PolicyServer(policy, host="127.0.0.1", port=port or free_port(), **settings)


def notices_the_end(client):
    """A request on a connection whose end libzmq has not told yet would be lost, as documented."""
    channel = client._protocol._connection._channel
    wait_until(lambda: not channel.is_open(Deadline(1000)))


@SECURED
def test_pictures_keep_their_size_for_a_server_that_took_the_place_of_one_that_shrinks(
    secured, keys
):
    servers, mine = settings_of(keys, secured)
    with serve(Shrinking(), **servers) as first:
        client = PolicyClient("127.0.0.1", first.port, resize=True, **mine)
        client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
    notices_the_end(client)
    policy = Seeing()
    with serve(policy, first.port, **servers), client:
        for _ in range(2):
            client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
    assert policy.seen == [(HEIGHT, WIDTH)] * 2


@SECURED
def test_observations_are_checked_against_the_configs_of_the_server_that_gets_them(secured, keys):
    servers, mine = settings_of(keys, secured)
    with serve(ToyPolicy(), **servers) as first:
        client = PolicyClient("127.0.0.1", first.port, **mine)
        client.get_action(toy_observation())
    with serve(WithLegs(), first.port, **servers), client:
        client.get_action(legged_observation())
        client.check_observation(legged_observation())


def test_also_where_the_client_has_not_noticed_that_the_connection_ended(keys, monkeypatch):
    servers, mine = settings_of(keys, secured=True)
    with serve(ToyPolicy(), **servers) as first:
        client = PolicyClient("127.0.0.1", first.port, **mine)
        client.get_action(toy_observation())
    # libzmq tells the end of a connection in its own time: here never before a request is lost.
    monkeypatch.setattr(CurveChannel, "is_open", lambda self, deadline: True)
    with serve(WithLegs(), first.port, **servers), client:
        client.get_action(legged_observation())


@SECURED
def test_threads_that_share_a_client_all_notice(secured, keys):
    servers, mine = settings_of(keys, secured)
    with serve(Shrinking(), **servers) as first:
        client = PolicyClient("127.0.0.1", first.port, timeout_ms=30_000, resize=True, **mine)
        client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
    notices_the_end(client)
    policy = Seeing()
    failures = []

    def ask():
        try:
            client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
        except Exception as error:
            failures.append(error)

    with serve(policy, first.port, **servers), client:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not failures
    assert policy.seen == [(HEIGHT, WIDTH)] * 8


@contextlib.contextmanager
def broker(*server_ports):
    """Passes messages on, and hides from its clients that it connects to a server again."""
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    back.setsockopt(zmq.RECONNECT_IVL, 10)
    port = front.bind_to_random_port("tcp://127.0.0.1")
    for server_port in server_ports:
        back.connect(f"tcp://127.0.0.1:{server_port}")
    ended = threading.Event()

    def carry():
        poller = zmq.Poller()
        poller.register(front, zmq.POLLIN)
        poller.register(back, zmq.POLLIN)
        while not ended.is_set():
            for socket, _ in poller.poll(20):
                (back if socket is front else front).send_multipart(socket.recv_multipart())

    carrying = threading.Thread(target=carry)
    carrying.start()
    yield port
    ended.set()
    carrying.join()
    context.destroy(linger=0)


def test_a_restart_behind_a_broker_is_noticed_by_the_run_that_the_server_tells():
    with serve(Shrinking()) as first, broker(first.port) as port:
        client = PolicyClient("127.0.0.1", port, timeout_ms=20_000, resize=True)
        client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
        pin = client._protocol.info.pin
        first.stop()
        policy = Seeing()
        with serve(policy, first.port) as second, client:
            client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
            assert client._protocol.info.pin is not pin
            channel = client._protocol._connection._channel
            assert channel is pin._channel, "the broker did not hide it"
            assert second.metrics()["errors"] == {}
    assert policy.seen == [(HEIGHT, WIDTH)]


def test_a_request_for_another_run_is_refused_before_it_is_computed(ask):
    with serve(Seeing()) as server:
        ping = ask(server, {"endpoint": "ping", "envelope": True})
        assert ping["data"]["run"] == ping["run"]
        reply = ask(server, {"endpoint": "reset", "envelope": True, "run": "another"})
        assert (reply["status"], reply["run"]) == ("error", ping["run"])
        again = ask(server, {"endpoint": "reset", "envelope": True, "run": ping["run"]})
        assert again["status"] == "success"
        assert server.metrics()["requests"] == {"ping": 1, "reset": 1}


def test_two_runs_of_a_server_never_have_the_same_name(ask):
    runs = set()
    for _ in range(2):
        with serve(ToyPolicy()) as server:
            runs.add(ask(server, {"endpoint": "ping", "envelope": True})["run"])
    assert len(runs) == 2


def test_what_is_known_is_asked_for_once_on_a_connection():
    with (
        serve(Shrinking()) as server,
        PolicyClient("127.0.0.1", server.port, resize=True) as client,
    ):
        for _ in range(5):
            action, _ = client.get_action(toy_observation(height=HEIGHT, width=WIDTH))
        assert server.metrics()["requests"] == {
            "ping": 1,
            "get_modality_config": 1,
            "get_action": 5,
        }
    assert np.isfinite(action["gripper"]).all()


def test_a_restart_behind_a_broker_is_noticed_also_by_an_observation_that_does_not_fit():
    with serve(ToyPolicy()) as first, broker(first.port) as port:
        client = PolicyClient("127.0.0.1", port, timeout_ms=20_000)
        client.get_action(toy_observation())
        first.stop()
        with serve(WithLegs(), first.port), client:
            client.check_observation(legged_observation())
            client.get_action(legged_observation())


def test_servers_behind_a_broker_that_hands_out_requests_by_turns_are_one_server(caplog):
    with serve(ToyPolicy()) as first, serve(ToyPolicy()) as second:
        ports = first.port, second.port
        with broker(*ports) as port, PolicyClient("127.0.0.1", port, timeout_ms=20_000) as client:
            for _ in range(6):
                client.get_action(toy_observation())
            assert "several servers answer" in caplog.text
        counted = [server.metrics()["requests"]["get_action"] for server in (first, second)]
    assert sum(counted) == 6
    assert min(counted) > 0
