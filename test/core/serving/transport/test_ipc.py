# SPDX-License-Identifier: Apache-2.0
"""A server on a Unix socket, for clients of the same machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from server_rig import wait_until
from toy_policy import ToyPolicy, expected_action, toy_observation

from gr00t_policy_core import AddressError, PolicyClient, PolicyServer, SpecError
from gr00t_policy_core.serving.transport.curve_keys import write_keys


@pytest.fixture
def host(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/policy.sock"


def test_a_client_of_the_same_machine_is_answered(host):
    observation = toy_observation()
    with PolicyServer(ToyPolicy(), host=host) as server, PolicyClient(host) as client:
        action, _ = client.get_action(observation)
        assert server.port == 0
        assert not server.metrics()["open_to_network"]
    for key, wanted in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], wanted)


def test_it_is_among_several_hosts(host):
    with PolicyServer(ToyPolicy(), host=host), PolicyClient(hosts=[host, "localhost:1"]) as client:
        assert client.ping()


def test_its_clients_may_end_the_server_as_those_of_the_loopback_may(host):
    server = PolicyServer(ToyPolicy(), host=host).start()
    with PolicyClient(host) as client:
        client.kill_server()
    wait_until(lambda: server.state == "stopping")
    server.stop()


def test_the_socket_is_gone_with_the_server(host, tmp_path):
    with PolicyServer(ToyPolicy(), host=host):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("secured", [False, True])
def test_a_server_that_ends_leaves_the_socket_of_its_successor_there(host, tmp_path, secured):
    settings, keys = {}, {}
    if secured:
        folder = tmp_path / "keys"
        write_keys(folder, ["arm"])
        settings = {"keys": folder}
        keys = {"server_key": folder / "server.key", "keys": folder / "arm.key_secret"}
    first = PolicyServer(ToyPolicy(), host=host, **settings).start()
    (tmp_path / "policy.sock").unlink()  # as whoever takes the first one for dead does
    with PolicyServer(ToyPolicy(), host=host, **settings):
        first.stop()
        with PolicyClient(host, timeout_ms=10_000, **keys) as client:
            assert client.ping()
    assert not (tmp_path / "policy.sock").exists()


def test_a_server_whose_socket_is_gone_ends_as_any_other(host, tmp_path):
    with PolicyServer(ToyPolicy(), host=host, stop_timeout_s=60) as server:
        next(tmp_path.iterdir()).unlink()
    assert server._ended.is_set()


def test_the_socket_of_a_running_server_is_not_taken(host):
    with PolicyServer(ToyPolicy(), host=host), PolicyClient(host) as client:
        with pytest.raises(AddressError, match="another program does already"):
            PolicyServer(ToyPolicy(), host=host)
        assert client.ping()


def test_the_socket_of_a_killed_server_is_taken_over(host):
    code = (
        "import sys, toy_policy, gr00t_policy_core as core; "
        "core.PolicyServer(toy_policy.ToyPolicy(), host=sys.argv[1]).run()"
    )
    here = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    with subprocess.Popen([sys.executable, "-c", code, host], env=env) as killed:
        with PolicyClient(host, timeout_ms=500) as client:
            wait_until(client.ping, 30)
        killed.send_signal(signal.SIGKILL)
    with PolicyServer(ToyPolicy(), host=host), PolicyClient(host) as client:
        assert client.ping()


def test_a_file_is_not_taken_for_a_socket(host, tmp_path):
    (tmp_path / "policy.sock").write_text("somebody's notes")
    with pytest.raises(AddressError, match="is not a socket"):
        PolicyServer(ToyPolicy(), host=host)
    assert (tmp_path / "policy.sock").read_text() == "somebody's notes"


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(AddressError, match=r"/no/such/folder/policy.sock.*in an existing folder"):
        PolicyServer(ToyPolicy(), host="ipc:///no/such/folder/policy.sock")


@pytest.mark.parametrize("host", ["ipc://policy.sock", "ipc:///" + 107 * "x"])
def test_a_path_that_is_none_is_refused_by_both(host):
    with pytest.raises(AddressError, match="path"):
        PolicyServer(ToyPolicy(), host=host)
    with pytest.raises(SpecError, match="path"):
        PolicyClient(host)
