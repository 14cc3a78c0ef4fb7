# SPDX-License-Identifier: Apache-2.0
"""`policy.backend: local`: the settings of a model reach it, and its errors the operator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import CONFIGURE, MakeNode, Operator, Robot
from policies_for_tests import EchoPolicy

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_ros.msg import ActionChunk
from gr00t_ros.policy.policy_backend import make_policy

MODELS = "gr00t_policy_core.models"
CORE_TESTS = Path(__file__).parents[2] / "core"
LOCAL = {
    "policy__backend": "local",
    "policy__model_path": "checkpoints/my_robot",
    "policy__timeout_s": None,
}


class EchoModel(EchoPolicy):
    """In place of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.warm: list[list[dict[str, tuple[int, int]]]] = []

    def warm_up(self, *, camera_sizes: Sequence[dict[str, tuple[int, int]]]) -> float:
        self.warm.append(list(camera_sizes))
        return 0.0


LoadModel = Callable[..., EchoModel]


@pytest.fixture
def make_local_node(start_node: MakeNode) -> MakeNode:
    """Starts policy nodes that load the model of their parameters."""
    return lambda **changes: start_node(make_policy, **{**LOCAL, **changes})


@pytest.fixture
def use_loader(monkeypatch: pytest.MonkeyPatch) -> Callable[[LoadModel], None]:
    """Puts a function in the place of `Gr00tPolicy`, which needs torch."""

    def use(load: LoadModel) -> None:
        module = ModuleType(MODELS)
        vars(module)["Gr00tPolicy"] = load
        monkeypatch.setitem(sys.modules, MODELS, module)

    return use


@pytest.fixture
def asked_for(use_loader: Callable[[LoadModel], None]) -> list[dict[str, Any]]:
    """What models were asked for."""
    asked: list[dict[str, Any]] = []

    def load(**settings: Any) -> EchoModel:
        asked.append(settings)
        return EchoModel()

    use_loader(load)
    return asked


def test_a_model_has_answered_once_before_the_node_is_configured(
    make_local_node: MakeNode, operator: Operator, use_loader: Callable[[LoadModel], None]
) -> None:
    model = EchoModel()
    use_loader(lambda **settings: model)
    make_local_node()
    assert operator.change_state(CONFIGURE) == [True]
    assert model.warm == [[]]


def test_a_model_is_warmed_up_for_the_cameras_whose_size_the_node_knows(
    make_local_node: MakeNode, operator: Operator, use_loader: Callable[[LoadModel], None]
) -> None:
    model = EchoModel()
    use_loader(lambda **settings: model)
    make_local_node(video__front__width=640, video__front__height=360)
    assert operator.change_state(CONFIGURE) == [True]
    assert model.warm == [[{"front": (360, 640)}]]


def test_a_model_is_loaded_as_serve_would_where_no_setting_is_given(
    make_local_node: MakeNode, operator: Operator, asked_for: list[dict[str, Any]]
) -> None:
    make_local_node()
    assert operator.change_state(CONFIGURE) == [True]
    assert asked_for == [
        {
            "embodiment_tag": "new_embodiment",
            "model_path": "checkpoints/my_robot",
            "device": "cuda",
            "dtype": None,
            "backbone_path": None,
            "base_model_path": None,
            "num_inference_timesteps": None,
            "mask_padding": False,
            "cuda_graphs": None,
            "compile": None,
            "device_images": None,
        }
    ]


def test_every_setting_reaches_the_model(
    make_local_node: MakeNode, operator: Operator, asked_for: list[dict[str, Any]]
) -> None:
    settings = {
        "embodiment_tag": "gr1",
        "model_path": "nvidia/GR00T-N1.7-3B",
        "device": "cuda:1",
        "dtype": "float16",
        "backbone_path": "/backbone",
        "base_model_path": "/base",
        "num_inference_timesteps": 2,
        "mask_padding": True,
        "cuda_graphs": True,
        "compile": "max-autotune",
        "device_images": True,
    }
    given = {**settings, "cuda_graphs": "always", "device_images": "always"}
    given["denoising_steps"] = given.pop("num_inference_timesteps")
    make_local_node(**{f"policy__{name}": value for name, value in given.items()})
    assert operator.change_state(CONFIGURE) == [True]
    assert asked_for == [settings]


def test_settings_that_do_not_go_together_stop_the_configuration_before_a_model_is_loaded(
    make_local_node: MakeNode,
    operator: Operator,
    asked_for: list[dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_local_node(policy__device="cpu", policy__cuda_graphs="always")
    assert operator.change_state(CONFIGURE) == [False]
    assert (
        "- policy.cuda_graphs: always needs a GPU, policy.device is 'cpu';"
        in capfd.readouterr().err
    )
    assert asked_for == []

    assert operator.set_parameters(policy__cuda_graphs="never") == [True]
    assert operator.change_state(CONFIGURE) == [True]


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (SpecError, ("bad device", ["'cuda': no GPU here"]), "- 'cuda': no GPU here\n"),
        (PolicyError, ("config.json: no such file",), "- config.json: no such file\n"),
    ],
)
def test_what_is_wrong_with_a_model_is_told(
    make_local_node: MakeNode,
    operator: Operator,
    use_loader: Callable[[LoadModel], None],
    capfd: pytest.CaptureFixture[str],
    kind: type[PolicyError],
    said: tuple[Any, ...],
    told: str,
) -> None:
    def refuse(**settings: Any) -> EchoModel:
        raise kind(*said)  # made anew: one that is kept keeps the node by its traceback

    use_loader(refuse)
    make_local_node()
    assert operator.change_state(CONFIGURE) == [False]
    assert told in capfd.readouterr().err
    assert operator.state() == "unconfigured"


def test_the_extra_that_a_model_needs_is_named(
    make_local_node: MakeNode,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, MODELS, None)
    make_local_node()
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "- policy.backend: local needs the models (" in told
    assert "install the extra 'gr00t', or use policy.backend: server" in told


def test_a_real_checkpoint_answers_in_the_node(
    make_local_node: MakeNode,
    operator: Operator,
    robot: Robot,
    chunks: list[ActionChunk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.syspath_prepend(CORE_TESTS)
    from models.golden import golden_of, torch  # skips where torch or the checkpoints are missing

    golden = golden_of("gr00t_n1d7/c")
    arm = ["shoulder", "elbow", "wheel", "roll", "pitch"]
    robot.joints.update(roll=0.0, pitch=0.0)
    no_arm = {f"{modality}__arm__topic": None for modality in ("state", "action")}
    no_arm |= {f"{modality}__arm__joints": None for modality in ("state", "action")}
    no_arm |= {f"{modality}__arm__type": None for modality in ("state", "action")}
    node = make_local_node(
        **no_arm,
        policy__model_path=str(golden.checkpoint),
        policy__backbone_path=str(golden.backbone),
        policy__embodiment_tag=golden.tag,
        policy__device="cpu",
        policy__dtype="bfloat16",
        policy__mask_padding=True,
        policy__device_images="always",
        video__wrist__topic="front/image_raw",
        state__single_arm__type="joint_state",
        state__single_arm__topic="joint_states",
        state__single_arm__joints=arm,
        action__single_arm__topic="commands",
        action__single_arm__type="joint_trajectory",
        action__single_arm__joints=arm,
    )
    assert operator.trigger("start").success
    wait_until(lambda: chunks, 60.0, "a chunk of the model")
    assert {a.name: a.dimension for a in chunks[0].actions} == {"single_arm": 5, "gripper": 1}
    assert all(np.isfinite(action.values).all() for action in chunks[0].actions)
    assert operator.wait_until_running().policy_time.last_s > 0.0
    policy = node._policy
    assert policy.dtype == torch.bfloat16
    assert (policy.settings.mask_padding, policy.settings.device_images) == (True, True)
