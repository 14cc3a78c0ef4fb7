# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy eval --through-nodes` by its command line, with real servers and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from demonstration_bags import recording, write_plain_bag
from helpers import wait_until
from policies_for_tests import EchoPolicy, parameters

pytest.importorskip("matplotlib", reason="the report needs it (the extra 'report')")

from gr00t_policy_core import cli
from gr00t_policy_core.cli import extensions
from gr00t_policy_core.serving.server.policy_server import PolicyServer

ECHO = "echo=policies_for_tests:EchoPolicy"
# Policies of processes of their own; a test writes them to a module.
POLICIES = """
import os, signal, threading
from policies_for_tests import EchoPolicy

class Killed(EchoPolicy):
    def _get_action(self, observation, options=None):
        if len(self.observations) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._get_action(observation, options)

class Hanging(EchoPolicy):
    def _get_action(self, observation, options=None):
        open("asked", "w").close()
        threading.Event().wait()
"""


def write_config(path: Path, **changes: Any) -> Path:
    values = parameters(**{"max_skew_s": 0.03, **changes})
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "robot.yaml")


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_plain_bag(tmp_path / "wave.mcap", recording(2.0))


def of_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


@contextmanager
def process(*arguments: Any, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A `gr00t-policy` that finds the policies of the tests and of `folder`."""
    (folder / "broken_policies.py").write_text(POLICIES)
    paths = [str(Path(__file__).parents[1]), str(folder), os.environ.get("PYTHONPATH", "")]
    running = subprocess.Popen(
        [sys.executable, "-m", "gr00t_policy_core", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def test_a_bag_and_its_dataset_give_the_same_numbers_and_the_replay_none(
    tmp_path: Path, bag: Path, config: Path
) -> None:
    pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
    of_bag = ["--through-nodes", str(bag), "--config", str(config)]
    flags = ["--language-key", "task", "--image-size", "32x32"]
    dataset = tmp_path / "d"
    made = ["convert", str(bag), "--config", str(config), "--output", str(dataset), *flags]
    assert cli.main(made) == 0
    policies = ["--policy", ECHO, "--policy", f"again={dataset}"]
    assert cli.main(["eval", *of_bag, *policies, "--output", str(tmp_path / "bag")]) == 0
    asked = ["--output", str(tmp_path / "dataset"), "--policy", ECHO]
    assert cli.main(["eval", "--dataset", str(dataset), *asked]) == 0

    through, replay = of_report(tmp_path / "bag")["policies"]
    (plain,) = of_report(tmp_path / "dataset")["policies"]
    for measure in ("mse", "mae", "keys", "findings", "execution_horizon", "swaps_tried"):
        assert through[measure] == plain[measure], measure
    assert through["latency"]["calls"] == plain["latency"]["calls"] == 3
    assert replay["mse"] < 1e-12
    assert of_report(tmp_path / "bag")["episode_names"] == ["wave.mcap"]
    page = (tmp_path / "bag/report.html").read_text()
    assert "wave.mcap, arm. Dots" in page


def test_the_policy_of_the_file_is_evaluated_where_the_command_names_none(
    tmp_path: Path, bag: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = EchoPolicy()
    with PolicyServer(policy, host="127.0.0.1", port=0, api_token="secret") as server:
        settings = {"policy__host": "127.0.0.1", "policy__port": server.port}
        config = write_config(tmp_path / "r.yaml", policy__token="secret", **settings)
        arguments = ["--through-nodes", str(bag), "--config", str(config)]
        assert cli.main(["eval", *arguments, "--output", str(tmp_path / "out")]) == 0
    (found,) = of_report(tmp_path / "out")["policies"]
    assert found["name"] == "as configured"
    assert "40 steps of 1 episode" in capsys.readouterr().out


def test_a_server_that_is_killed_half_way_ends_the_evaluation(
    tmp_path: Path, bag: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = ["serve", "--policy", "broken_policies:Killed", "--host", "127.0.0.1", "--port", "0"]
    with process(*served, folder=tmp_path) as server:
        assert server.stdout is not None
        ports = (re.search(r"127\.0\.0\.1:(\d+)", line) for line in server.stdout)
        port = next(found[1] for found in ports if found is not None)
        arguments = ["--through-nodes", str(bag), "--config", str(config), "--timeout-ms", "2000"]
        output = ["--output", str(tmp_path / "out")]
        assert cli.main(["eval", *arguments, "--host", "127.0.0.1", "--port", port, *output]) == 1
        assert server.wait(60.0) == -signal.SIGKILL
    told = capsys.readouterr().err
    assert "wave.mcap, step 16: the policy failed: " in told
    assert not (tmp_path / "out/report.json").exists()


def test_ctrl_c_ends_an_evaluation_whose_policy_hangs(
    tmp_path: Path, bag: Path, config: Path
) -> None:
    arguments = ["eval", "--through-nodes", bag, "--config", config, "--output", tmp_path / "out"]
    policy = ["--policy", "hanging=broken_policies:Hanging"]
    with process(*arguments, *policy, folder=tmp_path) as command:
        asked = tmp_path / "asked"
        wait_until(
            lambda: asked.exists() or command.poll() is not None, what="it asks", timeout_s=120
        )
        command.send_signal(signal.SIGINT)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 130, output
    assert "Traceback" not in output
    assert not (tmp_path / "out/report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--through-nodes", "nowhere"], 1, "nowhere: no such file or folder"),
        (["--through-nodes", "."], 1, "has no bag"),
        (["--through-nodes", "{bag}", "--episodes", "1"], 2, "name the bags themselves"),
        (["--through-nodes", "{bag}", "--dataset", "d"], 2, "not allowed with argument"),
        (["--dataset", "d", "--task", "wave"], 2, "--task has no effect: there is no --through"),
        (["--through-nodes", "{bag}", "--api-token", "x"], 2, "the YAML file names the policy"),
        (
            ["--through-nodes", "{bag}", "--policy", ECHO, "--action-lead-steps", "2"],
            2,
            "has no effect without --action-from state",
        ),
        (
            ["--through-nodes", "{bag}", "--policy", ECHO, "--execution-horizon", "17"],
            1,
            "execution_horizon must be 1 to 16",
        ),
        ([], 2, "one of the arguments --dataset --through-nodes is required"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str],
    status: int,
    text: str,
    tmp_path: Path,
    bag: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    given = [argument.format(bag=bag) for argument in arguments]
    if "--dataset" not in given and given:
        given += ["--config", str(config)]
    try:
        found = cli.main(["eval", *given, "--output", str(tmp_path / "out")])
    except SystemExit as error:
        found = error.code
    told = capsys.readouterr().err
    assert (found, text in told, told.count("\n")) == (status, True, 1), told


def test_without_ros_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extensions, "THROUGH_NODES", "gr00t_ros.cli.not_there")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["eval", "--through-nodes", "bag.mcap"]) == 1
    assert "--through-nodes needs ROS 2 and the built package" in capsys.readouterr().err
