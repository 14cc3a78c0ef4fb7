# SPDX-License-Identifier: Apache-2.0
"""A checkpoint behind `gr00t-policy serve`, asked by our client and by stock ones of both lines."""

import argparse
import contextlib
import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from models.golden import ROOT, golden_of, largest, policy_of
from models.lerobot_golden import NAMES, as_vector, lerobot_golden_of, lerobot_policy_of
from peers.lines import LINES
from peers.stock import StockClient

from gr00t_policy_core import PolicyClient, PolicyServer, RemoteError
from gr00t_policy_core.cli import main
from gr00t_policy_core.cli.policy_loader import PolicyLoader
from gr00t_policy_core.cli.serve import add_command
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.testing import check_policy


@contextlib.contextmanager
def serving(golden, *arguments):
    """The port of a server process of a checkpoint."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gr00t_policy_core", "serve", "--port", "0", "--device", "cpu"]
    command += ["--model-path", golden.checkpoint, "--backbone-path", golden.backbone]
    command += ["--embodiment-tag", golden.tag, *arguments]
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            match = re.fullmatch(r"listening on \S+:(\d+)\n", line)
            assert match, f"no listening line but {line!r}"
            yield int(match[1])
        finally:
            process.terminate()


def assert_golden(golden, case, action):
    expected = golden.group(case, "action")
    assert action.keys() == expected.keys()
    for key, values in expected.items():
        assert largest(np.asarray(action[key]) - values) <= 1e-4 * largest(values), key


def test_every_client_gets_the_references_answer(golden):
    options = {"seed": golden.seed}
    with serving(golden) as port:
        for case in ("one", "batch"):
            observation = golden.observation(case)
            with PolicyClient("127.0.0.1", port, timeout_ms=60_000) as client:
                action, info = client.get_action(observation, options)
                assert_golden(golden, case, action)
                assert info["timing"]["total"] > 0.0
            for make_line in LINES.values():
                with StockClient(make_line(), port) as stock:
                    data = {"observation": observation, "options": options}
                    action, _ = stock.call("get_action", data=data)
                    assert_golden(golden, case, action)


@pytest.mark.parametrize("name", NAMES)
def test_every_client_gets_lerobots_answer_of_its_checkpoint(name):
    golden = lerobot_golden_of(name)
    observation = golden.observation_of(lerobot_policy_of(name), "batch")
    options, expected = {"seed": golden.seed}, golden.vector("batch", "action")
    with serving(golden) as port:
        with PolicyClient("127.0.0.1", port, timeout_ms=60_000) as client:
            answers = [client.get_action(observation, options)[0]]
        for make_line in LINES.values():
            with StockClient(make_line(), port) as stock:
                data = {"observation": observation, "options": options}
                answers.append(stock.call("get_action", data=data)[0])
    for action in answers:
        arrays = {key: np.asarray(values) for key, values in action.items()}
        assert largest(as_vector(arrays) - expected) <= 1e-4 * largest(expected)


def test_real_time_chunking_works_over_the_wire(n1d7):
    policy, observation = policy_of(n1d7.name), n1d7.observation("one")
    before, _ = policy.get_action(observation, {"seed": 1})
    prefix = {key: values[:, 8:].copy() for key, values in before.items()}
    rtc = {"prefix": prefix, "frozen_steps": 3, "ramp_rate": 5.0}
    options = {"seed": 2, "rtc": rtc}
    expected, _ = policy.get_action(observation, options)

    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port, timeout_ms=60_000) as client,
    ):
        action, _ = client.get_action(observation, options)
        with pytest.raises(RemoteError, match="frozen_steps"):
            client.get_action(observation, {"rtc": {**rtc, "frozen_steps": 9}})

    for key, values in expected.items():
        np.testing.assert_allclose(action[key], values, atol=1e-5)


def test_the_policy_conforms(golden, policy):
    def observation(rows):
        return golden.observation("one" if rows == 1 else "batch")

    check_policy(policy, observation)


def test_what_keeps_a_checkpoint_from_being_served_is_one_line_and_status_1(tmp_path, capsys):
    missing = tmp_path / "nowhere"
    assert main(["serve", "--port", "0", "--model-path", str(missing), "--device", "cpu"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "nowhere: there is no such folder" in message


def test_a_tag_of_another_robot_is_one_line_and_status_1(capsys):
    golden = golden_of("gr00t_n1d7/c")
    arguments = ["--model-path", str(golden.checkpoint), "--device", "cpu"]
    assert main(["serve", "--port", "0", *arguments, "--embodiment-tag", "gr1"]) == 1
    assert "'gr1' is not in processor_config.json" in capsys.readouterr().err


def test_a_served_model_has_answered_once_before_it_is_ready(golden, caplog):
    load = PolicyLoader(
        model_path=str(golden.checkpoint),
        backbone_path=str(golden.backbone),
        embodiment_tag=golden.tag,
        device="cpu",
        dtype=None,
        settings={},
        dataset_path=None,
        modality_config_path=None,
        execution_horizon=None,
        strict=True,
        max_batch=4,
    )
    with caplog.at_level(logging.INFO):
        policy = load()
    assert re.search(r"the warm-up of the model took \d+\.\d s", caplog.text)
    assert "cuda_graphs False" in caplog.text, "the log says what is in force"
    policy.check_observation(policy.synthetic_observation(2))


def test_a_served_model_is_ready_for_the_cameras_that_it_is_told_of(monkeypatch):
    golden, seen = golden_of("gr00t_n1d7/c"), []
    answer = ModelPolicy._get_action

    def spy(policy, observation, options=None):
        seen.append({key: video.shape[2:4] for key, video in observation["video"].items()})
        return answer(policy, observation, options)

    monkeypatch.setattr(ModelPolicy, "_get_action", spy)
    flags = ["--model-path", str(golden.checkpoint), "--backbone-path", str(golden.backbone)]
    sizes = ["--camera-size", "720x1280", "--camera-size", "96x128"]
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    PolicyLoader.of(parser.parse_args(["serve", *flags, "--device", "cpu", *sizes]))()
    assert seen == [
        {"front": (720, 1280), "wrist": (720, 1280)},
        {"front": (96, 128), "wrist": (96, 128)},
    ]
