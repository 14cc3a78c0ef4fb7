# SPDX-License-Identifier: Apache-2.0
"""What must not shake the arm: deaths, stalls and bursts of late chunks."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import require_within, wait_until
from nodes_for_tests import DEACTIVATE, chunk_of, patience
from nodes_rig import SLOW_S, Scene
from policies_for_tests import parameters

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.msg import ActionChunk

# The scene's robot stands still while its policy asks it to climb: every chunk has a jump. The
# limits are tight, so that a step where none belongs would show.
LIMITS = {"velocity": 1.0, "acceleration": 8.0, "jerk": 200.0}


class Recorded:
    """A control node whose every command is on record, with the limits that it must keep."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._path = folder / "run.jsonl"
        changes = {
            f"action__{key}__max_{name}": limit
            for key in ("arm", "gripper")
            for name, limit in LIMITS.items()
        }
        self._changes = {**changes, "record_path": str(self._path)}
        self.process = scene.start_node("control_node", **self._changes)

    def require_smooth(self) -> np.ndarray:
        """Ends the run; every command of it, float64 (n, 3), once they all keep the limits."""
        assert self._scene.control.change_state(DEACTIVATE) == [True]
        assert self.process.popen.poll() is None
        contract = parse_contract(parameters(**patience(self._changes)))
        player = make_player(contract, ActionLayout({"arm": 2, "gripper": 1}), {})
        commands = [c for c in replay(read_events(self._path), player) if c is not None]
        path = np.array([np.concatenate(list(c.values.values())) for c in commands])
        heard = {tuple(m.points[0].positions) for m in self._scene.commands}
        assert heard <= {tuple(row) for row in path.tolist()}  # it is what was published
        for joint in range(3):
            require_within(path[:, joint], period_s=0.01, **LIMITS)
        return path


@pytest.mark.parametrize("fault", ["SIGKILL of the policy node", "SIGSTOP for 5 s", "server"])
def test_no_death_and_no_stall_makes_the_arm_jump(scene: Scene, tmp_path: Path, fault: str) -> None:
    server, node = scene.start_server(), scene.start_node("policy_node", is_killed=True)
    control = Recorded(scene, tmp_path)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands(60)
    if fault == "SIGKILL of the policy node":
        node.kill()
        scene.control.wait_for_reason("ended and no other came", SLOW_S)
        scene.start_node("policy_node")
    elif fault == "SIGSTOP for 5 s":
        node.freeze()
        stopped = time.monotonic()
        scene.control.wait_for_reason("ended and no other came", SLOW_S)
        wait_until(lambda: time.monotonic() - stopped > 5.0, what="5 s")
        node.signal(signal.SIGCONT)
    else:
        server.kill()
        scene.control.wait_for_reason("ended and no other came", SLOW_S)
        scene.start_server()
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands(60)
    path = control.require_smooth()
    assert len(np.unique(path[:, 0])) > 50  # it moved


def test_a_control_node_that_stood_still_goes_on_without_a_jump(
    scene: Scene, tmp_path: Path
) -> None:
    scene.start_server()
    scene.start_node("policy_node")
    control = Recorded(scene, tmp_path)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands(60)
    control.process.freeze()
    stopped = time.monotonic()
    wait_until(lambda: time.monotonic() - stopped > 3.0, what="3 s")
    control.process.signal(signal.SIGCONT)
    scene.wait_for_commands(20)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands(60)
    control.require_smooth()


def test_a_burst_of_late_chunks_does_not_make_the_arm_jump(scene: Scene, tmp_path: Path) -> None:
    control = Recorded(scene, tmp_path)
    chunks = scene.peer.create_publisher(ActionChunk, "action_chunk", 20)
    wait_until(chunks.get_subscription_count, SLOW_S, "the node listens")
    scene.control.wait_for_status(
        lambda s: s.joints and not any(math.isnan(joint.feedback) for joint in s.joints),
        "the joints are measured",
        SLOW_S,
    )
    rng = np.random.default_rng(7)
    number = 0
    for late_s in ((0.0,), (0.9, 0.6, 0.3, 0.3, 0.1), (0.5,), (2.0, 1.0, 0.2, 0.7)):
        for seconds in late_s:
            number += 1
            rows = rng.uniform(-0.5, 0.5) + np.cumsum(rng.normal(0.0, 0.05, (30, 1)), axis=0)
            values = {"arm": np.hstack([rows, -rows]), "gripper": rows}
            t0_ns = int(scene.peer.get_clock().now().nanoseconds) - round(seconds * 1e9)
            chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=0.05, chunk_id=number))
        scene.wait_for_commands(40)
    status = scene.control.wait_for_status(lambda s: s.chunks_rejected > 0, "refusals")
    assert status.chunks_accepted + status.chunks_rejected <= number
    path = control.require_smooth()
    assert len(np.unique(path[:, 0])) > 50
