# SPDX-License-Identifier: Apache-2.0
"""Both nodes and a policy server as processes of their own, and what befalls them."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from helpers import free_port, require_within, wait_until
from nodes_for_tests import DEACTIVATE, Operator, Robot, chunk_of, patience
from policies_for_tests import parameters
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus

NODE = "import sys; from gr00t_ros.{0}.{0}_node import main; sys.exit(main())"
SERVER = """
from gr00t_policy_core import PolicyServer
from policies_for_tests import {policy}
PolicyServer({policy}(), host="127.0.0.1", port={port}).run()
"""
SLOW_S = 120.0  # starting a process takes seconds on a machine with much else to do


class Process:
    """A Python process whose output lies in a file."""

    def __init__(self, code: str, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                cwd=Path(__file__).parent,
                stdout=file,
                stderr=file,
            )

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and return when all of its threads stand still."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        self.popen.kill()
        self.popen.wait()

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Scene:
    """A robot in this process; nodes and server in others."""

    def __init__(self, peer: Node, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.peer = peer
        self.robot = Robot(peer)
        self.port = free_port()
        self.policy = Operator(peer, "policy_node")
        self.control = Operator(peer, "control_node")
        self.commands: list[JointTrajectory] = []
        peer.create_subscription(JointTrajectory, "commands", self.commands.append, 100)

    def start(self, code: str, *arguments: str, name: str) -> Process:
        process = Process(code, *arguments, log=self._folder / f"{name}.log")
        self._processes.append(process)
        return process

    def start_server(self, policy: str = "EchoPolicy") -> Process:
        return self.start(SERVER.format(policy=policy, port=self.port), name="server")

    def start_node(self, name: str, *, code: str = "", **changes: Any) -> Process:
        settings = {
            "autostart": True,
            "end_with_pid": os.getpid(),  # none is left behind where the tests are killed
            "policy__port": self.port,
            "policy__timeout_s": 1.0,
        }
        values = parameters(**patience({**settings, **changes}))
        file = self._folder / f"{name}.yaml"
        file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
        code = code or NODE.format(name.removesuffix("_node"))
        return self.start(code, "--ros-args", "--params-file", str(file), name=name)

    def wait_for_commands(self, more: int = 20) -> None:
        wanted = len(self.commands) + more
        wait_until(lambda: len(self.commands) >= wanted, SLOW_S, "commands")

    def end(self) -> str:
        for process in self._processes:
            process.kill()
        return "\n".join(f"--- {p.log.name}\n{p.output()}" for p in self._processes)


@pytest.fixture
def scene(ros_node: Node, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(ros_node, tmp_path)
    yield scene
    print(scene.end())  # noqa: T201 - pytest shows it where a test fails


def ends_with(process: Process) -> int:
    wait_until(lambda: process.popen.poll() is not None, SLOW_S, "the process ends")
    return int(process.popen.returncode)


def test_a_server_may_come_late_be_killed_and_come_back(scene: Scene) -> None:
    policy_node, control_node = scene.start_node("policy_node"), scene.start_node("control_node")
    status = scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    assert status.state == PolicyStatus.STATE_WAITING
    assert scene.commands == []

    server = scene.start_server()
    scene.policy.wait_until_running(SLOW_S)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands()

    server.kill()
    scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    status = scene.control.wait_for_reason("ended and no other came", SLOW_S)
    assert status.state == ControlStatus.STATE_HOLDING
    scene.wait_for_commands()  # held at control rate

    scene.start_server()
    scene.policy.wait_until_running(SLOW_S)
    scene.control.wait_until_running(SLOW_S)
    assert policy_node.popen.poll() is None
    assert control_node.popen.poll() is None
    troubles = policy_node.output().count("not inferring: ")
    assert 1 <= troubles <= 4  # told, and not at every attempt
    assert "Traceback" not in policy_node.output() + control_node.output()


def test_a_server_that_stands_still_is_reported_and_waited_for(scene: Scene) -> None:
    server = scene.start_server()
    policy_node = scene.start_node("policy_node")
    scene.policy.wait_until_running(SLOW_S)

    server.freeze()
    status = scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    assert status.inference_errors >= 1
    scene.policy.wait_for_status(
        lambda s: s.inference_errors > status.inference_errors, "further attempts", SLOW_S
    )
    server.signal(signal.SIGCONT)
    scene.policy.wait_until_running(SLOW_S)
    assert "inferring again" in policy_node.output()


def test_the_control_node_holds_when_the_policy_node_is_killed(scene: Scene) -> None:
    scene.start_server()
    policy_node = scene.start_node("policy_node")
    control_node = scene.start_node("control_node")
    scene.control.wait_until_running(SLOW_S)
    policy_node.kill()
    status = scene.control.wait_for_reason("ended and no other came", SLOW_S)
    assert status.state == ControlStatus.STATE_HOLDING
    scene.wait_for_commands()
    held = scene.commands[-1].points[0].positions
    assert held == scene.commands[-5].points[0].positions

    scene.start_node("policy_node")
    scene.control.wait_until_running(SLOW_S)
    assert control_node.popen.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_both_nodes_in_order(scene: Scene, number: int) -> None:
    scene.start_server()
    nodes = [scene.start_node(name) for name in ("policy_node", "control_node")]
    scene.control.wait_until_running(SLOW_S)
    for node in nodes:
        node.signal(number)
    assert [ends_with(node) for node in nodes] == [0, 0]
    assert "Traceback" not in nodes[0].output() + nodes[1].output()


def test_a_signal_ends_a_policy_node_whose_server_stands_still(scene: Scene) -> None:
    server = scene.start_server()
    policy_node = scene.start_node("policy_node", policy__timeout_s=600.0)
    scene.policy.wait_until_running(SLOW_S)
    server.freeze()
    scene.policy.wait_for_repeated(lambda s: s.inferences, "a call that hangs", SLOW_S)
    policy_node.signal(signal.SIGTERM)
    assert ends_with(policy_node) == 0


def test_when_the_policy_node_ends_in_order_the_arm_stops_at_once(scene: Scene) -> None:
    scene.start_server()
    policy_node = scene.start_node("policy_node")
    scene.start_node("control_node")
    scene.control.wait_until_running(SLOW_S)
    policy_node.signal(signal.SIGINT)
    assert ends_with(policy_node) == 0
    scene.control.wait_for_reason("holding: stopped by the policy node: the policy node was")


def test_no_velocity_stays_commanded_when_the_control_node_is_interrupted(scene: Scene) -> None:
    twists: list[TwistStamped] = []
    scene.peer.create_subscription(TwistStamped, "twist", twists.append, 100)
    scene.start_server("TwistPolicy")
    changes = {
        "action__arm__topic": "twist",
        "action__arm__type": "twist_stamped",
        "action__arm__frame_id": "base",
        "action__arm__joints": None,
    }
    scene.start_node("policy_node", **changes)
    control_node = scene.start_node("control_node", **changes)
    speed = pytest.approx(0.25, abs=1e-3)
    wait_until(lambda: twists and twists[-1].twist.linear.x == speed, SLOW_S, "velocities")
    control_node.signal(signal.SIGINT)
    assert ends_with(control_node) == 0
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, what="a last command of no velocity")


def test_wrong_parameters_are_told_and_the_process_can_be_put_right(scene: Scene) -> None:
    control_node = scene.start_node("control_node", action__gripper__joints=["elbow"])
    status = scene.control.wait_for_reason("cannot configure, bad parameters: action.arm", SLOW_S)
    assert status.state == ControlStatus.STATE_ERROR
    problem = "- action.arm, action.gripper: elbow is commanded twice, on commands"
    assert problem in control_node.output()
    assert scene.control.set_parameters(action__gripper__joints=["finger"]) == [True]
    assert scene.control.change_state(1, 3) == [True, True]
    scene.control.wait_for_reason("no chunk received yet")


# What ends a process


BROKEN = """
import sys
from gr00t_policy_core.control import command_limiter
from gr00t_ros.control.control_node import main

class Limiter(command_limiter.CommandLimiter):
    ticks = 0
    def follow(self, path):
        Limiter.ticks += 1
        if Limiter.ticks > 150:
            raise FloatingPointError("broken on purpose")
        return super().follow(path)

from gr00t_policy_core.control import command_output
command_output.CommandLimiter = Limiter
sys.exit(main())
"""


def test_a_control_node_whose_motion_fails_brakes_and_ends_with_an_error(scene: Scene) -> None:
    scene.start_server()
    scene.start_node("policy_node")
    control = scene.start_node("control_node", code=BROKEN)
    assert ends_with(control) == 1
    output = control.output()
    assert (
        "the motion cannot be computed; the robot is brought to rest, and the node ends" in output
    )
    assert "FloatingPointError: broken on purpose" in output
    last, before = scene.commands[-1].points[0], scene.commands[-2].points[0]
    assert list(last.positions) == list(before.positions)  # it stood when the process ended


def test_braking_at_the_end_takes_as_long_as_the_limits_need(scene: Scene) -> None:
    twists, control = _driving(scene)
    speed = twists[-1].twist.linear.x
    control.signal(signal.SIGINT)
    assert ends_with(control) == 0
    assert "braking takes" in control.output()
    speeds = np.array([message.twist.linear.x for message in twists])
    assert twists[-1].twist.linear.x == 0.0
    assert np.abs(np.diff(speeds)).max() < 0.3 * speed  # some messages may be lost on the way


def test_a_second_signal_cuts_braking_short_and_says_so(scene: Scene) -> None:
    twists, control = _driving(scene)
    control.signal(signal.SIGINT)
    wait_until(lambda: "braking takes" in control.output(), SLOW_S, "it brakes")
    signalled = time.monotonic()
    wait_until(lambda: time.monotonic() - signalled > 0.6, what="more than a doubled Ctrl-C")
    control.signal(signal.SIGINT)
    assert ends_with(control) == 0
    assert "a second signal cuts braking short" in control.output()
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "the last twist")


def _driving(scene: Scene) -> tuple[list[TwistStamped], Process]:
    """A base at 0.4 m/s whose limits take 8 s to stop it."""
    twists: list[TwistStamped] = []
    scene.peer.create_subscription(TwistStamped, "base", twists.append, 500)
    control = scene.start_node(
        "control_node",
        action__arm__topic="base",
        action__arm__type="twist_stamped",
        action__arm__joints=None,
        action__arm__frame_id="base",
        action__arm__max_linear_acceleration=0.05,
    )
    chunks = scene.peer.create_publisher(ActionChunk, "action_chunk", 5)
    wait_until(chunks.get_subscription_count, SLOW_S, "the node listens")
    values = {"arm": np.full((600, 6), 0.4), "gripper": np.full((600, 1), 0.5)}

    def drives() -> bool:
        if not twists:
            t0_ns = int(scene.peer.get_clock().now().nanoseconds)
            chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=0.05))
        return bool(twists) and twists[-1].twist.linear.x > 0.2

    wait_until(drives, SLOW_S, "it drives")
    return twists, control


# What must not shake the arm


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
    server, node = scene.start_server(), scene.start_node("policy_node")
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
