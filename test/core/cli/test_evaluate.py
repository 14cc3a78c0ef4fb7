# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy eval` on datasets, with policies behind a server and in this process."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pip install '.[report]'")
from lerobot_writer import write_dataset
from server_rig import free_port

from gr00t_policy_core.cli import main, policy_sources
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_policy_core.serving.server.policy_server import PolicyServer

HORIZON = 8


class StatePlusOne(ModalityPolicy):
    """Knows the datasets of `lerobot_writer`: an action is its state plus one, and so is a step."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign
        self.instructions: list[str] = []

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {
            "state": ModalityConfig([0], ["single_arm", "gripper"]),
            "language": ModalityConfig([0], ["annotation.human.task_description"]),
            "action": ModalityConfig(list(range(HORIZON)), ["single_arm", "gripper"]),
        }

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        self.instructions += observation["language"]["annotation.human.task_description"][0]
        steps = np.arange(1, HORIZON + 1, dtype=np.float32)[None, :, None]
        state = observation["state"]
        right = {key: state[key] + steps for key in ("single_arm", "gripper")}
        return {**right, "gripper": self.sign * right["gripper"]}, {}


def right() -> StatePlusOne:
    return StatePlusOne()


def wrong_sign() -> StatePlusOne:
    return StatePlusOne(-1.0)


def without_a_gpu() -> StatePlusOne:
    raise RuntimeError("no GPU here")


class Failing(StatePlusOne):
    """Fails at the third call, as a policy of a user's own may."""

    calls = 0

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        self.calls += 1
        if self.calls == 3:
            raise ValueError("boom\nwith a second line")
        return super()._get_action(observation, options)


@pytest.fixture(params=["v2.1", "v3.0"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", [40, 25, 7], request.param)


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    with PolicyServer(wrong_sign(), host="127.0.0.1", port=0) as server:
        yield server


def of_report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_policies_of_a_server_and_of_this_process_are_compared(
    dataset: Path, server: PolicyServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    here = f"good={__name__}:right"
    served = f"bad=127.0.0.1:{server.port}"
    arguments = ["--dataset", str(dataset), "--output", str(output)]
    assert main(["eval", *arguments, "--policy", here, "--policy", served]) == 0
    report = of_report(output)
    good, bad = report["policies"]
    assert report["episodes"] == [0, 1, 2]
    assert (good["name"], good["mse"], good["findings"]) == ("good", 0.0, [])
    assert [(f["fault"], f["key"]) for f in bad["findings"]] == [("sign", "gripper")]
    assert bad["keys"]["gripper"]["mse"] > 100.0
    assert bad["latency"]["calls"] == 5 + 4 + 1
    assert good["execution_horizon"] == HORIZON
    shown = capsys.readouterr().out
    assert "good  MSE 0, MAE 0 over 72 steps of 3 episodes" in shown
    assert "sign: gripper" in shown
    page = (output / "report.html").read_text()
    assert "predicted with the opposite sign" in page
    assert page.count("<svg") == 2 + 3 * 2
    for outside in ("<script", "<link", 'src="', "url(http", "@import"):
        assert outside not in page


def test_the_replay_of_a_dataset_against_itself_has_no_error(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gr00t_policy_core.evaluation.recorded_dataset import RecordedDataset

    def black(self: RecordedDataset, episode: int, key: str) -> Iterator[np.ndarray]:
        return iter(np.zeros((self.episodes[episode], 4, 6, 3), np.uint8))

    monkeypatch.setattr(RecordedDataset, "read_video", black)
    output = tmp_path / "out"
    policy = f"replay={dataset}"
    arguments = ["--dataset", str(dataset), "--policy", policy, "--execution-horizon", "5"]
    assert main(["eval", *arguments, "--output", str(output)]) == 0
    (replay,) = of_report(output)["policies"]
    assert (replay["mse"], replay["findings"], replay["swaps_tried"]) == (0.0, [], False)


def test_the_chosen_episodes_steps_and_keys_are_compared(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    chosen = ["--episodes", "1", "--steps", "9", "--action-keys", "gripper"]
    policy = f"wrong={__name__}:wrong_sign"
    arguments = ["--dataset", str(dataset), "--policy", policy, "--output", str(output)]
    assert main(["eval", *arguments, *chosen]) == 0
    report = of_report(output)
    assert report["episodes"] == [1]
    assert list(report["policies"][0]["keys"]) == ["gripper"]
    assert report["policies"][0]["latency"]["calls"] == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--episodes", "9"], "has no episode [9], only 0 to 2"),
        (["--execution-horizon", "9"], "execution_horizon must be 1 to 8, the chunk's, got 9"),
        (["--action-keys", "legs"], "the policy has no action key ['legs']"),
        (["--dataset", "nowhere"], "nowhere: no such directory"),
        (["--policy", "other=json:dumps"], "dumps() missing 1 required positional argument"),
        (["--policy", "other=json:nothing"], "json:nothing: json has no nothing"),
        (["--policy", "other=builtins:dict"], "makes a dict, which is no"),
        (["--policy", f"other={__name__}:without_a_gpu"], "(RuntimeError: no GPU here)"),
        (["--policy", f"other={__name__}:Failing"], "step 16: the policy failed: ValueError: boom"),
        (["--policy", f"good={__name__}:right"], "two have the name ['good']"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str], text: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    policy = f"good={__name__}:right"
    given = ["--dataset", str(dataset), "--policy", policy, "--output", str(tmp_path / "out")]
    assert main(["eval", *given, *arguments]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out/report.json").exists()


def test_an_evaluation_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    output = tmp_path / "made" / "evaluation"
    assert main(["eval", "--dataset", str(tmp_path / "none"), "--output", str(output)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named_at_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys
) -> None:
    monkeypatch.setattr(policy_sources, "TOLD_AFTER_S", 0.1)
    nobody = f"127.0.0.1:{free_port()}"
    arguments = ["--dataset", str(dataset), "--output", str(tmp_path), "--timeout-ms", "300"]
    assert main(["eval", *arguments, "--policy", f"gone={nobody}"]) == 1
    (told,) = caplog.messages
    assert f"{nobody} is not ready within 0.1 s" in told
    assert "no server listens there" in told
    assert "waiting for up to 0.3 s more" in told
    assert f"{nobody} is not ready within 0.3 s" in capsys.readouterr().err


def test_a_server_that_starts_late_is_waited_for(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(policy_sources, "TOLD_AFTER_S", 0.1)
    is_loaded = threading.Event()

    def load() -> StatePlusOne:
        assert is_loaded.wait(30.0)
        return right()

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_loaded.set()

    telling = Telling()
    policy_sources.logger.addHandler(telling)
    try:
        with PolicyServer(load, host="127.0.0.1", port=0) as server:
            policy = f"late=127.0.0.1:{server.port}"
            arguments = ["--dataset", str(dataset), "--output", str(tmp_path)]
            assert main(["eval", *arguments, "--policy", policy]) == 0
    finally:
        policy_sources.logger.removeHandler(telling)
    assert "(loading); waiting for up to 60 s more" in caplog.text
    assert of_report(tmp_path)["policies"][0]["mse"] == 0.0


def test_flags_without_effect_are_refused(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["eval", "--dataset", str(dataset), "--policy", f"good={__name__}:right"]
    with pytest.raises(SystemExit):
        main([*given, "--device", "cpu"])
    assert "--device has no effect: no policy is a model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*given, "--timeout-ms", "5"])
    assert "--timeout-ms has no effect: no policy is a server" in capsys.readouterr().err
