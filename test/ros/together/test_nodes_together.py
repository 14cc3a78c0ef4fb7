# SPDX-License-Identifier: Apache-2.0
"""Both nodes and a policy server as processes of their own, and what befalls them."""

from __future__ import annotations

import re
import signal

import pytest
from geometry_msgs.msg import TwistStamped
from helpers import wait_until
from nodes_rig import SLOW_S, Scene, ends_with

from gr00t_ros.msg import ControlStatus, PolicyStatus


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
    policy_node = scene.start_node("policy_node", is_killed=True)
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


def test_a_chunk_that_is_played_whole_ends_with_the_policy_node_that_is_killed(
    scene: Scene,
) -> None:
    """A chunk lasts 30 s: nothing else would bring the robot to rest before."""
    scene.start_server()
    whole = {
        "inference": "sync",
        "replan_interval_s": 0.0,
        "action_rate_hz": 0.5,
        "max_observation_age_s": 0.0,
    }
    policy_node = scene.start_node("policy_node", is_killed=True, **whole)
    scene.start_node("control_node", **whole)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands(300)
    scene.control.wait_until_running(SLOW_S)
    policy_node.kill()
    status = scene.control.wait_for_reason("policy_node has sent no status for 2.", SLOW_S)
    assert status.state == ControlStatus.STATE_HOLDING

    scene.start_node("policy_node", **whole)
    scene.control.wait_until_running(SLOW_S)


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


@pytest.mark.parametrize("first", ["policy_node", "control_node"])
def test_a_control_node_that_comes_back_moves_nothing_before_the_policy_node_is_started(
    scene: Scene, first: str
) -> None:
    scene.start_server()
    second = {"policy_node": "control_node", "control_node": "policy_node"}[first]
    processes = {first: scene.start_node(first, is_killed=first == "control_node")}
    getattr(scene, first.removesuffix("_node")).wait_for_status(lambda _: True, "a status", SLOW_S)
    processes[second] = scene.start_node(second, is_killed=second == "control_node")
    scene.wait_for_commands()
    run = scene.control.wait_until_running(SLOW_S).source
    scene.policy.wait_until_running(SLOW_S)
    assert scene.control.trigger("stop").success
    scene.control.wait_for_status(lambda s: s.at_rest, "rest")

    processes["control_node"].kill()
    sent = len(scene.commands)
    scene.start_node("control_node")  # as a supervisor does
    scene.control.wait_for_status(lambda s: s.source != run, "another run", SLOW_S)
    scene.policy.wait_for_reason("stopped: control_node was started again; ~/start goes on")
    waiting = ControlStatus.STATE_WAITING
    scene.control.wait_for_status(
        lambda s: (
            s.state == waiting and re.match("no chunk|the chunk is for .* again since", s.reason)
        ),
        "nothing to play",
    )
    assert len(scene.commands) == sent
    assert scene.policy.trigger("start").success
    scene.wait_for_commands()


def test_a_control_node_that_hung_is_moved_on(scene: Scene) -> None:
    scene.start_server()
    scene.start_node("policy_node")
    control_node = scene.start_node("control_node")
    scene.control.wait_until_running(SLOW_S)
    scene.policy.wait_until_running(SLOW_S)
    control_node.freeze()
    seen = len(scene.policy.statuses)
    wait_until(lambda: len(scene.policy.statuses) > seen + 8, SLOW_S, "four seconds")
    control_node.signal(signal.SIGCONT)
    scene.wait_for_commands()
    assert scene.policy.statuses[-1].state != PolicyStatus.STATE_STOPPED
