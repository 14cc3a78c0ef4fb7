# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy serve`, as processes over real sockets."""

import contextlib
import ctypes
import json
import signal
import sys
from pathlib import Path

import msgpack
import pytest
import zmq
from cli_rig import DEADLINE_S, observation, one_line, run, serving

from gr00t_policy_core import PolicyClient


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_replays_a_dataset_until_a_signal_ends_it(dataset, number):
    with serving("--dataset-path", dataset, "--execution-horizon", 8) as server:
        assert server.host == "127.0.0.1"
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.reset({"episode_index": 1})["episode_length"] == 25
            client.get_action(observation())
            action, info = client.get_action(observation())
        assert action["single_arm"].shape == (1, 16, 6)
        assert info["step_index"] == 8
        server.send_signal(number)
        _, errors = server.communicate(timeout=DEADLINE_S)
        assert server.returncode == 0, errors
        assert "Traceback" not in errors


def test_serve_ends_when_a_client_asks_for_it(dataset):
    with serving("--dataset-path", dataset) as server:
        with PolicyClient("127.0.0.1", server.port) as client:
            client.kill_server()
        assert server.wait(timeout=DEADLINE_S) == 0


def test_a_modality_config_file_chooses_keys_and_horizon(dataset, tmp_path):
    file = tmp_path / "modality.json"
    file.write_text(
        json.dumps({"action": {"delta_indices": [0, 1, 2], "modality_keys": ["gripper"]}})
    )
    with (
        serving("--dataset-path", dataset, "--modality-config-path", file) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        assert list(client.get_modality_config()) == ["action"]
        assert client.get_modality_config()["action"].delta_indices == [0, 1, 2]


def test_the_simulation_wrapper_serves_flat_keys(dataset):
    flat = {
        **{f"video.{key}": value for key, value in observation()["video"].items()},
        **{f"state.{key}": value for key, value in observation()["state"].items()},
        "annotation.human.task_description": ("pick",),
    }
    with (
        serving("--dataset-path", dataset, "--use-sim-policy-wrapper") as server,
        PolicyClient("127.0.0.1", server.port, strict=False) as client,
    ):
        action, _ = client.get_action(flat)
    assert sorted(action) == ["action.gripper", "action.single_arm"]


def test_serve_without_strict_answers_what_it_would_refuse(dataset):
    wrong = {**observation(), "language": {}}
    with (
        serving("--dataset-path", dataset, "--no-strict") as server,
        PolicyClient("127.0.0.1", server.port, strict=False) as client,
    ):
        assert client.get_action(wrong)[0]["gripper"].shape == (1, 16, 1)
    with (
        serving("--dataset-path", dataset) as server,
        PolicyClient("127.0.0.1", server.port, strict=False) as client,
        pytest.raises(RuntimeError, match="missing"),
    ):
        client.get_action(wrong)


@pytest.mark.parametrize("where", ["flag", "environment"])
def test_a_token_of_the_flag_or_the_environment_is_required_of_clients(dataset, where):
    flags = ["--api-token", "secret"] if where == "flag" else []
    changes = {"GR00T_API_TOKEN": "secret"} if where == "environment" else {}
    with serving("--dataset-path", dataset, *flags, **changes) as server:
        without = run("ping", "--port", server.port)
        assert without.returncode == 1
        assert "nauthorized" in one_line(without.stderr)
        assert run("ping", "--port", server.port, *flags, **changes).returncode == 0


def test_open_to_the_network_without_a_token_is_warned_about_once(dataset):
    with serving("--dataset-path", dataset, "--host", "127.0.0.1") as server:
        server.send_signal(signal.SIGTERM)
        assert "without a token" not in server.communicate(timeout=DEADLINE_S)[1]
    with serving("--dataset-path", dataset, "--host", "0.0.0.0") as server:
        assert run("ping", "--port", server.port).returncode == 0
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=DEADLINE_S)[1].count("without a token") == 1


@pytest.mark.parametrize(("reply_format", "enveloped"), [("envelope", True), ("bare", False)])
def test_a_reply_format_can_be_forced(dataset, reply_format, enveloped):
    request = msgpack.packb({"endpoint": "ping", "envelope": not enveloped})
    with (
        serving("--dataset-path", dataset, "--reply-format", reply_format) as server,
        zmq.Context() as context,
        context.socket(zmq.REQ) as client,
    ):
        client.setsockopt(zmq.LINGER, 0)
        client.connect(f"tcp://127.0.0.1:{server.port}")
        client.send(request)
        assert client.poll(1000 * DEADLINE_S)
        assert ("data" in msgpack.unpackb(client.recv())) is enveloped


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_does_not_reach_the_main_thread_ends_serve_too(dataset, number):
    libc = ctypes.CDLL(None)
    with (
        serving("--dataset-path", dataset) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        client.reset()
        others = sorted(threads_that_take_signals(server.pid) - {server.pid})
        assert libc.tgkill(server.pid, others[0], int(number)) == 0
        assert server.wait(timeout=DEADLINE_S) == 0


def threads_that_take_signals(pid):
    """Neither ZeroMQ's own threads do, nor the one of Arrow's malloc."""
    threads = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if not (thread / "comm").read_text().startswith(("ZMQ", "jemalloc")):
                threads.add(int(thread.name))
    return threads


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_serve_restarts_itself_once_with_malloc_set_up(dataset):
    def settings(process):
        with open(f"/proc/{process.pid}/environ", "rb") as file:
            entries = file.read().decode().split("\0")
        return dict(entry.split("=", 1) for entry in entries if entry.startswith("MALLOC_"))

    with serving("--dataset-path", dataset) as server:
        assert settings(server) == {
            "MALLOC_MMAP_THRESHOLD_": "1073741824",
            "MALLOC_TRIM_THRESHOLD_": "4294967296",
            "MALLOC_TOP_PAD_": "67108864",
        }
    with serving("--dataset-path", dataset, "--no-malloc-tuning") as server:
        assert settings(server) == {}
    with serving("--dataset-path", dataset, MALLOC_TOP_PAD_="1") as server:
        assert settings(server)["MALLOC_TOP_PAD_"] == "1"
        assert settings(server)["MALLOC_MMAP_THRESHOLD_"] == "1073741824"
