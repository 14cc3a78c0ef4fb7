# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy`, as processes over real sockets."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from lerobot_writer import write_dataset

from gr00t_policy_core import PolicyClient
from gr00t_policy_core.cli import main, make_parser
from gr00t_policy_core.cli.policy_loader import PolicyLoader

DEADLINE_S = 60
PROGRAM = [sys.executable, "-m", "gr00t_policy_core"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cli") / "dataset", [40, 25])


def environment(**changes):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GR00T_"))
    }
    return {**kept, **changes}


def run(*arguments, **changes):
    """A finished `gr00t-policy`."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@contextlib.contextmanager
def serving(*arguments, **changes):
    """A running `gr00t-policy serve` and the port that it says it listens on."""
    command = [*PROGRAM, "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on (\S+):(\d+)\n", line)
        if match is None:
            pytest.fail(f"no listening line but {line!r}: {process.communicate()[1]}")
        process.host, process.port = match[1], int(match[2])
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def observation():
    return {
        "video": {key: np.zeros((1, 1, 4, 6, 3), np.uint8) for key in ("front", "wrist")},
        "state": {
            "single_arm": np.zeros((1, 1, 6), np.float32),
            "gripper": np.zeros((1, 1, 1), np.float32),
        },
        "language": {"annotation.human.task_description": [["pick"]]},
    }


def nobody_there():
    """A port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def one_line(text):
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


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
    with serving("--dataset-path", dataset) as server:
        with PolicyClient("127.0.0.1", server.port) as client:
            client.reset()
        tasks = Path(f"/proc/{server.pid}/task")
        names = {int(file.parent.name): file.read_text() for file in tasks.glob("*/comm")}
        # ZeroMQ's own threads take no signals, nor does the one of Arrow's malloc.
        deaf = ("ZMQ", "jemalloc")
        others = [t for t, name in names.items() if t != server.pid and not name.startswith(deaf)]
        assert libc.tgkill(server.pid, others[0], int(number)) == 0
        assert server.wait(timeout=DEADLINE_S) == 0


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


def test_a_model_without_torch_is_one_line_and_status_1(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("gr00t_policy_core.models")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert main(["serve", "--model-path", "somewhere", "--port", "0"]) == 1
    reason = one_line(capsys.readouterr().err)
    assert "needs torch, which is not installed: run pip install" in reason


def test_a_missing_dataset_is_one_line_and_status_1(tmp_path):
    ended = run("serve", "--dataset-path", tmp_path / "nowhere")
    assert ended.returncode == 1
    assert "nowhere: no such directory" in one_line(ended.stderr)


def test_an_execution_horizon_beyond_the_chunk_is_one_line_and_status_1(dataset):
    ended = run("serve", "--dataset-path", dataset, "--execution-horizon", 17)
    assert ended.returncode == 1
    assert "from 1 to 16, got 17" in one_line(ended.stderr)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("config.json", None, "config.json"),
        ("config.json", "{", "config.json"),
        ("config.json", "[]", "expected a dict"),
        ("config.json", '{"action": {"delta_indices": []}}', "modality_keys"),
        ("config.py", "", "must be a .json file"),
    ],
)
def test_a_bad_modality_config_file_is_one_line_and_status_1(
    dataset, tmp_path, name, content, expected, capsys
):
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    arguments = ["serve", "--dataset-path", str(dataset), "--modality-config-path", str(file)]
    assert main(arguments) == 1
    assert expected in one_line(capsys.readouterr().err)


def test_a_port_in_use_is_one_line_and_status_1(dataset, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--dataset-path", str(dataset), "--port", str(port)]) == 1
    assert str(port) in one_line(capsys.readouterr().err)


def test_ping_prints_the_round_trip(dataset):
    with serving("--dataset-path", dataset) as server:
        ended = run("ping", "--port", server.port)
    assert ended.returncode == 0
    assert re.search(rf"localhost:{server.port} answers in \d+\.\d+ ms", one_line(ended.stdout))


@pytest.mark.parametrize("command", ["ping", "info"])
def test_a_host_that_nobody_knows_is_named_at_once(command, capsys, monkeypatch):
    def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert main([command, "--host", "gpu-box"]) == 1
    assert "unknown host gpu-box: Name or service not known" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ping", "info"])
def test_nobody_there_is_one_line_and_status_1(command):
    port = nobody_there()
    ended = run(command, "--port", port, "--timeout-ms", "200")
    assert ended.returncode == 1
    assert f"localhost:{port}" in one_line(ended.stderr)


def test_info_shows_keys_shapes_horizon_dialect_and_round_trip(dataset):
    with serving("--dataset-path", dataset) as server:
        text = run("info", "--port", server.port)
        as_json = run("info", "--port", server.port, "--json")
    assert text.returncode == 0, text.stderr
    for expected in (
        r"dialect +both",
        r"round trip +\d+\.\d+ ms",
        r"video: steps 1 \(delta indices 0\)",
        r"front +uint8 \(B, 1, H, W, 3\) RGB",
        r"single_arm +float32 \(B, 1, 6\)",
        r"annotation.human.task_description +B lists of 1 str",
        r"action: horizon 16 \(delta indices 0\.\.15\)",
        r"gripper +float32 \(B, 16, 1\)  ABSOLUTE",
    ):
        assert re.search(expected, text.stdout), f"{expected} not in {text.stdout}"
    info = json.loads(one_line(as_json.stdout))
    assert info["port"] == server.port
    assert info["dialect"] == "both"
    assert info["dimensions"]["action"] == {"single_arm": 6, "gripper": 1}
    assert info["modality_configs"]["action"]["delta_indices"] == list(range(16))
    assert info["round_trip_ms"] > 0


def test_version_and_help_are_there():
    assert re.match(r"gr00t-policy \S+", run("--version").stdout)
    helped = run("serve", "--help")
    assert helped.returncode == 0
    assert "--use-sim-policy-wrapper" in helped.stdout
    assert "memory" in helped.stdout


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--dtype", "bfloat16"], "--dtype has no effect: a replay has no model"),
        (["--device", "cuda", "--compile", "default"], "--compile, --device have no effect"),
        (["--embodiment-tag", "gr1"], "--embodiment-tag has no effect"),
        (["--max-batch", "16"], "--max-batch has no effect"),
        (["--denoising-steps", "2"], "--denoising-steps has no effect"),
    ],
)
def test_flags_of_a_model_beside_a_dataset_are_a_usage_error(dataset, capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--dataset-path", str(dataset), *flags])
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--execution-horizon", "3"], ["--modality-config-path", "x"]])
def test_flags_of_a_replay_beside_a_model_are_a_usage_error(capsys, flag):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--model-path", "x", *flag])
    assert f"{flag[0]} has no effect: a model does not replay a dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--embodiment-tag", "gr1"], "--embodiment-tag has no effect: there is no --model-path"),
        (["--model-path", "x", "--cameras", "1"], "--cameras has no effect: --model-path is"),
    ],
)
def test_flags_of_bench_that_have_no_effect_are_a_usage_error(capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", *flags])
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "got none (see"),
        (["--policy", "m:P", "--model-path", "x"], "got --model-path and --policy"),
        (["--policy", "m:P", "--device", "cpu"], "--device has no effect: only with --model-path"),
        (["--policy", "m:P", "--execution-horizon", "3"], "--execution-horizon has no effect"),
        (["--model-path", "x", "--policy-args", "a=1"], "--policy-args has no effect"),
        (["--policy", "no_colon"], "must be MODULE:NAME, such as my_module:MyPolicy"),
        (["--policy", "m:P", "--policy-args", "=1"], "must be NAME=VALUE, got '=1'"),
    ],
)
def test_what_is_served_must_be_one_thing(capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", *flags])
    assert named in capsys.readouterr().err


def test_a_number_as_device_is_that_gpu():
    args = make_parser().parse_args(["serve", "--model-path", "x", "--device", "1"])
    assert args.device == "cuda:1"
    assert PolicyLoader.of(args).uses_gpu
