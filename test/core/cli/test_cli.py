# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy`: what cannot be done is one line and status 1; ping, info and help."""

import json
import re
import socket
import sys

import pytest
from cli_rig import one_line, run, serving
from server_rig import free_port

from gr00t_policy_core.cli import main


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
    port = free_port()
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
