# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of each kind drives the demo's arm, as processes; skipped without torch.

The weights are random, and so are the motions: the limits keep them in a small range.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from action_limits import require_inside
from helpers import wait_until
from nodes_for_tests import DEACTIVATE, Operator
from rclpy.node import Node
from sensor_msgs.msg import JointState

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.msg import PolicyStatus
from gr00t_ros.node.offline_nodes import contract_of_file
from gr00t_ros.sim.demo_processes import DemoProcesses, demo_environment, executable, port_from_log
from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm

if TYPE_CHECKING:
    from models.golden import Golden

CORE_TESTS = Path(__file__).parents[2] / "core"
FILES = Path(__file__).with_name("checkpoints")
START_S = 180.0  # to import torch and load a model on a busy machine
INFERENCES = 12
COMMANDS = 300  # 3 s of motion
SAG_RAD = 0.05  # between a joint and its command
CAMERAS = {"image_width": 160, "image_height": 120, "image_rate_hz": 10.0}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of checkpoint: one of them, and how the arm is mapped to its keys."""

    checkpoint: str
    file: Path


KINDS = {
    "NVIDIA N1.6": Kind("gr00t_n1d6/c", FILES / "n1d6.yaml"),
    "NVIDIA N1.7": Kind("gr00t_n1d7/c", FILES / "n1d7.yaml"),
    "LeRobot N1.7": Kind("lerobot_n1d7/a", FILES / "lerobot.yaml"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def golden(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Golden:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(CORE_TESTS)
    from models.golden import golden_of  # skips where torch or the checkpoints are missing
    from models.lerobot_golden import NAMES, lerobot_golden_of

    return (lerobot_golden_of if kind.checkpoint in NAMES else golden_of)(kind.checkpoint)


class Scene:
    """The simulated arm in a process of its own, and the nodes that drive it."""

    def __init__(self, peer: Node, folder: Path) -> None:
        environment = {**demo_environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.processes = DemoProcesses(folder, environment)
        self.policy = Operator(peer, "policy_node")
        self.control = Operator(peer, "control_node")
        self.measured: list[JointState] = []
        self._folder = folder
        self._recording = folder / "run.jsonl"
        peer.create_subscription(JointState, "joint_states", self.measured.append, 1000)
        self.start("sim_node", **CAMERAS)

    def start(self, name: str, *arguments: str | Path, **parameters: Any) -> None:
        """Start a node with these parameters."""
        flags = [f"{key.replace('__', '.')}:={value}" for key, value in parameters.items()]
        command = [executable(name), "--ros-args", *arguments]
        self.processes.start(name, [*map(str, command), *(p for f in flags for p in ("-p", f))])

    def start_nodes(self, file: Path, **policy: Any) -> None:
        """Start both nodes with a file; `policy` says where the policy is."""
        node = {"autostart": "true", "end_with_pid": os.getpid()}
        self.start("policy_node", "--params-file", file, **node, **policy)
        record = {"record_path": self._recording}
        self.start("control_node", "--params-file", file, **node, **policy, **record)

    def serve(self, arguments: Sequence[str]) -> int:
        """The port of a server of a checkpoint."""
        command = [sys.executable, "-m", "gr00t_policy_core", "serve", "--port", "0", *arguments]
        server = self.processes.start("policy_server", command)
        wait_until(lambda: self._port(server.log), START_S, "the server listens")
        return port_from_log(server.log) or 0

    def _port(self, log: Path) -> int | None:
        self.processes.let_run(0.0)
        return port_from_log(log)

    def wait_for_motion(self) -> None:
        """Returns when some chunks have been played."""
        self.policy.wait_until_running(START_S)
        self.control.wait_until_running(START_S)
        self.policy.wait_for_status(lambda s: s.inferences >= INFERENCES, "chunks", START_S)
        self.control.wait_for_status(lambda s: s.commands >= COMMANDS, "commands", START_S)

    def commands(self, contract: Contract) -> dict[str, np.ndarray]:
        """End the motion; every command by action, float64 (n, D)."""
        assert self.control.change_state(DEACTIVATE) == [True]
        layout = ActionLayout({output.key: len(output.joints) for output in contract.action})
        run = replay(read_events(self._recording), make_player(contract, layout, {}))
        rows = [command.values for command in run if command is not None]
        return {output.key: np.array([r[output.key] for r in rows]) for output in contract.action}

    def positions(self, joint: str) -> np.ndarray:
        """Every measured position of a joint, rad."""
        return np.array([m.position[list(m.name).index(joint)] for m in self.measured])

    def logs(self) -> str:
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in logs)


@pytest.fixture
def scene(ros_node: Node, tmp_path: Path, golden: Golden) -> Iterator[Scene]:
    try:
        CameraRenderer(SimulatedArm(0).model, width=64, height=48).close()
    except RenderingUnavailableError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")
    scene = Scene(ros_node, tmp_path)
    yield scene
    scene.processes.end()
    print(scene.logs())  # noqa: T201 - pytest shows it where a test fails


def require_arm_driven(scene: Scene, file: Path) -> None:
    """The arm has moved and moves, inside all limits, and nothing has failed."""
    scene.wait_for_motion()
    status, control = scene.policy.statuses[-1], scene.control.statuses[-1]
    assert (status.state, status.inference_errors) == (PolicyStatus.STATE_RUNNING, 0)
    # One that begins too far from a late arm is rejected, and the arm goes on with the next.
    assert control.chunks_accepted > control.chunks_rejected
    assert control.limiter_hits > 0  # the policy asks for more than the limits allow

    contract = contract_of_file(file)
    commands = scene.commands(contract)
    for output in contract.action:
        require_inside(output, commands[output.key], 1.0 / contract.control_rate_hz)
    arm = contract.action[0]
    for joint, limits in zip(arm.joints, arm.limits, strict=True):
        positions = scene.positions(joint)
        assert np.ptp(positions) > SAG_RAD, f"{joint} did not move"
        assert limits.lower - SAG_RAD < positions.min()
        assert positions.max() < limits.upper + SAG_RAD
    scene.processes.let_run(0.0)  # all of them live
    assert not [
        line for line in scene.logs().splitlines() if "ERROR" in line or "Traceback" in line
    ]


def test_a_server_of_the_checkpoint_drives_the_arm(
    scene: Scene, kind: Kind, golden: Golden
) -> None:
    paths = ["--model-path", str(golden.checkpoint), "--backbone-path", str(golden.backbone)]
    port = scene.serve([*paths, "--embodiment-tag", golden.tag, "--device", "cpu"])
    scene.start_nodes(kind.file, policy__port=port)
    require_arm_driven(scene, kind.file)


def test_the_checkpoint_in_the_policy_node_drives_the_arm(
    scene: Scene, kind: Kind, golden: Golden
) -> None:
    scene.start_nodes(
        kind.file,
        policy__backend="local",
        policy__model_path=golden.checkpoint,
        policy__backbone_path=golden.backbone,
        policy__embodiment_tag=golden.tag,
        policy__device="cpu",
    )
    require_arm_driven(scene, kind.file)
