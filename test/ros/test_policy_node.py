# SPDX-License-Identifier: Apache-2.0
"""The policy node over real DDS: its services, its streams, its parameters, and its troubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from helpers import wait_until
from nodes_for_tests import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    Operator,
    Robot,
    SimulatedTime,
    overrides,
    quiet_for,
)
from numpy.testing import assert_allclose
from policies_for_tests import HORIZON, EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from gr00t_policy_core import ModalityConfig
from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.policy_node import PolicyNode

MakeNode = Callable[..., PolicyNode]


@pytest.fixture
def policy() -> Iterator[EchoPolicy]:
    policy = EchoPolicy()
    yield policy
    policy.go.set()


@pytest.fixture
def make_node(
    ros_context: Context, spin: Callable[[Node], Node], policy: EchoPolicy
) -> Iterator[MakeNode]:
    nodes: list[PolicyNode] = []

    def make(**changes: Any) -> PolicyNode:
        node = PolicyNode(
            policy_factory=lambda settings: policy,
            context=ros_context,
            parameter_overrides=overrides(parameters(**changes)),
        )
        nodes.append(node)
        spin(node)
        return node

    yield make
    policy.go.set()
    for node in nodes:
        node.executor.create_task(node.close)
        wait_until(lambda n=node: n._worker is None, what="the node is closed")


@pytest.fixture
def operator(ros_node: Node) -> Operator:
    return Operator(ros_node, "policy_node")


@pytest.fixture
def chunks(ros_node: Node) -> list[ActionChunk]:
    received: list[ActionChunk] = []
    ros_node.create_subscription(ActionChunk, "action_chunk", received.append, 10)
    return received


def robot_and_chunks(
    ros_node: Node, operator: Operator, chunks: list[ActionChunk], **options: Any
) -> Robot:
    """A running robot, the node started, and a first chunk received."""
    robot = Robot(ros_node, **options)
    assert operator.trigger("start").success
    wait_until(lambda: chunks, 15.0, "a first chunk")
    return robot


def entities(node: Node) -> tuple[int, int, int, int]:
    return (
        len(list(node.subscriptions)),
        len(list(node.publishers)),
        len(list(node.timers)),
        len(list(node.services)),
    )


# Parameters


def test_every_parameter_is_described_and_every_number_has_a_range(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    ours = ("policy.", "video.", "state.", "action.", "instruction", "action_rate_hz", "max_")
    names = [n for n in operator.parameter_names() if n.startswith(ours)]
    assert {"video.front.width", "state.arm.max_age_s", "action.gripper.scale"} <= set(names)
    assert len(names) > 40
    for described in operator.describe(names):
        assert described.description, described.name
        if described.name.endswith(("_s", "_hz", "width", "height", "port")):
            assert described.integer_range or described.floating_point_range, described.name


def test_a_value_outside_its_range_is_refused_when_it_is_set(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    assert operator.set_parameters(policy__port=70000) == [False]
    assert operator.set_parameters(control_rate_hz=-1.0) == [False]


def test_configure_fails_with_the_whole_list_and_works_once_all_is_right(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    make_node(
        policy__port=99999,
        video__front__topic=None,
        video__front__width=2,
        video__front__hieght=2,
        action_rate_hz=None,
        state__gripper__joints=["left", "right"],
    )
    assert operator.change_state(CONFIGURE) == [False]
    assert operator.state() == "unconfigured"
    told = capfd.readouterr().err
    for problem in (
        "policy.port: must be 1 to 65535, got 99999",
        "video.front: no topic given",
        "video.front.hieght: no such parameter, did you mean video.front.height?",
        "action_rate_hz: no action_rate_hz given",
    ):
        assert f"- {problem}\n" in told

    assert all(
        operator.set_parameters(policy__port=5555, action_rate_hz=20.0, video__front__height=2)
    )
    assert operator.set_parameters(video__front__topic="front/image_raw") == [True]
    assert operator.delete_parameter("video.front.hieght")
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "the parameters do not fit the policy" in told
    assert "- state.gripper has 2 joints, the policy expects 1\n" in told

    assert operator.set_parameters(state__gripper__joints=["finger"]) == [True]
    assert operator.change_state(CONFIGURE) == [True]
    assert operator.state() == "inactive"


def test_a_parameter_that_would_change_nothing_any_more_is_refused(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    assert operator.change_state(CONFIGURE) == [True]
    assert operator.set_parameters(max_age_s=0.1) == [False]
    assert operator.set_parameters(use_sim_time=False) == [True]
    assert operator.change_state(CLEANUP) == [True]
    assert operator.set_parameters(max_age_s=0.1) == [True]


def test_a_key_that_was_forgotten_can_be_set_later(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy, capfd: pytest.CaptureFixture[str]
) -> None:
    policy.get_modality_config()["video"] = ModalityConfig([0], ["front", "wrist"])
    make_node()
    assert operator.change_state(CONFIGURE) == [False]
    assert "- video.wrist: no topic given\n" in capfd.readouterr().err
    assert operator.set_parameters(video__wrist__topic="wrist/image_raw") == [True]
    assert operator.change_state(CONFIGURE) == [True]
    (described,) = operator.describe(["video.wrist.max_age_s"])
    assert described.description.startswith("s, ")


def test_an_error_that_nobody_thought_of_is_told_and_the_node_stays_usable(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node()

    def fail(settings: Any) -> EchoPolicy:
        raise OSError("no such checkpoint: /models/none")

    node._policy_factory = fail
    assert operator.change_state(CONFIGURE) == [False]
    assert operator.state() == "unconfigured"
    assert "no such checkpoint: /models/none" in capfd.readouterr().err
    node._policy_factory = lambda settings: policy
    assert operator.change_state(CONFIGURE) == [True]


# Lifecycle and services


def test_start_brings_the_node_up_and_chunks_follow(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    operator.wait_for_status(
        lambda s: s.state == PolicyStatus.STATE_STOPPED and s.reason == "the node is not active",
        "stopped at first",
    )
    robot_and_chunks(ros_node, operator, chunks)
    status = operator.wait_until_running()
    assert status.inferences >= 1
    assert status.observation_age_s >= 0.0
    assert status.policy_time_s == pytest.approx(0.001)
    assert list(status.stream_names) == ["video.front", "state.arm", "state.gripper"]
    assert operator.state() == "active"

    chunk = chunks[0]
    assert (chunk.chunk_id, chunk.horizon, chunk.dt) == (1, HORIZON, pytest.approx(0.05))
    assert [(a.name, a.dimension) for a in chunk.actions] == [("arm", 2), ("gripper", 1)]
    rows = np.array(chunk.actions[0].values).reshape(HORIZON, 2)
    assert_allclose(rows[:, 0], 0.1 + 0.1 / 20.0 * np.arange(HORIZON), rtol=1e-5)


def test_a_shuffled_joint_order_changes_nothing(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
) -> None:
    """The robot of these tests rolls its joints with every message."""
    make_node(replan_interval_s=0.03)
    robot_and_chunks(ros_node, operator, chunks)
    wait_until(lambda: len(policy.observations) >= 8, 15.0)
    for observation in policy.observations:
        assert_allclose(observation["state"]["arm"], [[[0.1, -0.2]]], rtol=1e-6)
        assert_allclose(observation["state"]["gripper"], [[[0.5]]], rtol=1e-6)


def test_stop_ends_the_chunks_tells_the_control_node_and_start_goes_on(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    robot_and_chunks(ros_node, operator, chunks)
    assert operator.trigger("stop").success
    wait_until(lambda: chunks[-1].horizon == 0, what="the message that tells to stop")
    quiet_for(chunks, 0.5)
    assert chunks[-1].horizon == 0
    operator.wait_for_reason("stopped")
    assert operator.state() == "active"
    count = len(chunks)
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) > count and chunks[-1].horizon, what="chunks go on")


def test_an_answer_that_comes_after_stop_is_not_published(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
) -> None:
    make_node()
    policy.go.clear()
    Robot(ros_node)
    operator.trigger("start")
    wait_until(lambda: policy.observations, 15.0, "the policy is asked")
    assert operator.trigger("stop").success  # served while the policy thinks
    policy.go.set()
    assert operator.trigger("reset").success  # comes after the late answer
    quiet_for(chunks)
    assert [c.horizon for c in chunks if c.horizon] == []


def test_a_reset_stops_the_arm_and_nothing_from_before_it_follows(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
) -> None:
    make_node()
    robot = robot_and_chunks(ros_node, operator, chunks)
    policy.go.clear()
    asked = len(policy.observations)
    wait_until(lambda: len(policy.observations) > asked, what="the policy is asked again")
    robot.joints["shoulder"] = 5.0
    client = ros_node.create_client(Trigger, "policy_node/reset")
    wait_until(client.service_is_ready)
    reset = client.call_async(Trigger.Request())
    wait_until(lambda: chunks[-1].horizon == 0, what="the message that tells to stop")
    seen = len(chunks)
    operator.wait_for_status(lambda s: True, "a status, by when the new position has come")
    policy.go.set()
    wait_until(reset.done, what="the reset")
    wait_until(lambda: len(chunks) > seen, what="a chunk after the reset")
    assert chunks[seen].actions[0].values[0] == 5.0


def test_the_executor_answers_while_the_policy_thinks(
    make_node: MakeNode, operator: Operator, ros_node: Node, policy: EchoPolicy
) -> None:
    make_node()
    policy.go.clear()
    Robot(ros_node)
    operator.trigger("start")
    wait_until(lambda: policy.observations, 15.0, "the policy is asked")
    reset_client = ros_node.create_client(Trigger, "policy_node/reset")
    wait_until(reset_client.service_is_ready)
    waiting_reset = reset_client.call_async(Trigger.Request())
    for _ in range(3):
        operator.wait_for_status(lambda s: True, "a status")
    assert operator.state() == "active"
    assert not waiting_reset.done()
    assert len(policy.observations) == 1
    policy.go.set()
    wait_until(waiting_reset.done, what="the reset is served")
    assert waiting_reset.result().success


def test_the_services_answer_from_every_state(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy
) -> None:
    make_node()
    refused = operator.trigger("reset")
    assert not refused.success
    assert "not configured" in refused.message
    assert operator.trigger("stop").success

    assert operator.change_state(CONFIGURE) == [True]
    assert operator.trigger("stop").success
    answer = operator.trigger("reset")
    assert (answer.success, answer.message) == (True, "{'resets': 1}")
    assert operator.trigger("start").success
    assert operator.state() == "active"
    assert operator.trigger("reset").success
    assert policy.resets == 2


def test_start_with_wrong_parameters_says_that_it_could_not(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node(video__front__topic="")
    answer = operator.trigger("start")
    assert not answer.success
    assert "could not be configured" in answer.message
    assert operator.state() == "unconfigured"


def test_a_reset_that_fails_says_why(
    make_node: MakeNode,
    operator: Operator,
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(options: Any = None) -> dict[str, Any]:
        raise PolicyTimeoutError("localhost:5555 did not answer within 2 s")

    monkeypatch.setattr(policy, "reset", refuse)
    make_node()
    assert operator.change_state(CONFIGURE) == [True]
    answer = operator.trigger("reset")
    assert (answer.success, answer.message) == (False, "localhost:5555 did not answer within 2 s")


def test_a_whole_life_leaves_nothing_behind_and_can_be_lived_again(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    node = make_node()
    Robot(ros_node)
    before = entities(node)
    for _ in range(2):
        assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        assert entities(node) != before
        count = len(chunks)
        assert operator.trigger("start").success
        wait_until(lambda c=count: len(chunks) > c, 15.0, "a chunk")
        assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
        assert entities(node) == before
        assert operator.state() == "unconfigured"
        quiet_for(chunks, 0.4)


def test_autostart_starts_with_the_activation(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(autostart=True)
    Robot(ros_node)
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(lambda: chunks, 15.0, "a chunk")


def test_without_autostart_an_active_node_waits_for_start(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy
) -> None:
    make_node()
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    status = operator.wait_for_reason("stopped")
    assert status.state == PolicyStatus.STATE_STOPPED
    assert policy.observations == []


# Streams


def test_a_camera_that_dies_stops_inference_by_name_and_its_return_resumes_it(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node(max_age_s=0.3)
    robot = robot_and_chunks(ros_node, operator, chunks)
    operator.wait_until_running()
    robot.pictures_on = False
    status = operator.wait_for_reason("video.front: stale on front/image_raw: newest message is")
    assert status.state == PolicyStatus.STATE_WAITING
    quiet_for(chunks, 0.5)
    count = len(chunks)
    later = operator.wait_for_reason("video.front: stale")
    assert later.inferences_skipped > status.inferences_skipped or later.inferences_skipped
    robot.pictures_on = True
    wait_until(lambda: len(chunks) > count, 15.0, "chunks again")
    operator.wait_until_running()
    assert capfd.readouterr().err.count("not inferring: video.front: stale") == 1


def test_a_missing_joint_is_named_in_the_status(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node()
    robot = Robot(ros_node)
    del robot.joints["elbow"]
    assert operator.trigger("start").success
    operator.wait_for_reason("state.arm: cannot be read: state.arm: joint_states has no joint")


def test_streams_without_stamps_get_their_time_of_arrival(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    robot_and_chunks(ros_node, operator, chunks, stamped=False)
    now_s = ros_node.get_clock().now().nanoseconds * 1e-9
    assert now_s - 30.0 < chunks[0].header.stamp.sec <= now_s


def test_a_stream_slower_than_expected_is_named_while_inference_goes_on(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(video__front__rate_hz=500.0, state__arm__rate_hz=5.0)
    robot_and_chunks(ros_node, operator, chunks)
    status = operator.wait_for_reason("video.front: ")
    assert "Hz received, 500 Hz expected" in status.reason
    assert "state.arm" not in status.reason
    assert status.state == PolicyStatus.STATE_RUNNING
    assert list(status.stream_expected_hz[:2]) == [500.0, 5.0]
    assert status.stream_rates_hz[0] > 0.0


def test_a_camera_that_appears_after_configure_is_found_raw_or_compressed(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
) -> None:
    make_node()
    Robot(ros_node, camera=False)
    assert operator.trigger("start").success
    operator.wait_for_reason("video.front: nothing received on front/image_raw yet")
    done, data = cv2.imencode(".png", np.full((2, 3, 3), 200, np.uint8))
    assert done
    camera = ros_node.create_publisher(CompressedImage, "front/image_raw", 5)

    def publish() -> None:
        message = CompressedImage(format="png", data=data.tobytes())
        message.header.stamp = ros_node.get_clock().now().to_msg()
        camera.publish(message)

    ros_node.create_timer(0.03, publish)
    wait_until(lambda: policy.observations, 15.0, "an observation")
    pixels = policy.observations[0]["video"]["front"]
    assert pixels.shape == (1, 1, 2, 3, 3)
    assert (pixels == 200).all()


def test_a_camera_topic_of_another_type_is_told(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    ros_node.create_publisher(String, "front/image_raw", 1)
    assert operator.change_state(CONFIGURE) == [True]
    told: list[str] = []

    def look() -> bool:
        told.append(capfd.readouterr().err)
        return "video.front: front/image_raw carries ['std_msgs/msg/String']" in "".join(told)

    wait_until(look, 15.0, "the wrong type is told")


def test_a_state_topic_of_another_type_is_told(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    """Joints forgotten in the parameters: an array is expected where joint states come."""
    make_node(state__arm__joints=None, state__gripper__topic="gripper_states")
    driver_context = Context()  # one participant has one type per topic
    rclpy.init(context=driver_context)
    driver = Node("driver", context=driver_context)
    driver.create_publisher(JointState, "joint_states", 1)
    assert operator.change_state(CONFIGURE) == [True]
    told: list[str] = []

    def look() -> bool:
        told.append(capfd.readouterr().err)
        return "state.arm: joint_states carries ['sensor_msgs/msg/JointState']" in "".join(told)

    wait_until(look, 15.0, "the wrong type is told")
    driver.destroy_node()
    driver_context.try_shutdown()


# The instruction


def test_the_instruction_is_the_parameter_until_the_topic_says_otherwise(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
) -> None:
    make_node()
    robot_and_chunks(ros_node, operator, chunks)
    assert policy.observations[0]["language"] == {"task": [["pick up the apple"]]}
    publisher = ros_node.create_publisher(String, "policy_node/instruction", 1)
    wait_until(publisher.get_subscription_count)
    publisher.publish(String(data="now the pear"))
    wait_until(
        lambda: policy.observations[-1]["language"] == {"task": [["now the pear"]]},
        what="the new instruction",
    )


def test_an_instruction_given_before_the_start_is_the_one_followed(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    publisher = ros_node.create_publisher(String, "policy_node/instruction", 1)
    wait_until(publisher.get_subscription_count)
    publisher.publish(String(data="the pear first"))
    told: list[str] = []

    def heard() -> bool:
        told.append(capfd.readouterr().err)
        return "the pear first" in "".join(told)

    wait_until(heard)
    robot_and_chunks(ros_node, operator, chunks)
    assert policy.observations[0]["language"] == {"task": [["the pear first"]]}


def test_without_an_instruction_the_node_asks_for_one(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node(instruction=None)
    Robot(ros_node)
    assert operator.trigger("start").success
    operator.wait_for_reason("no instruction: set the parameter or publish on ~/instruction")


# A policy in trouble


def test_a_policy_that_is_not_there_yet_is_waited_for(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> dict[str, ModalityConfig]:
        raise PolicyTimeoutError("gpu-box:5555 did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(policy, "get_modality_config", refuse)
        make_node()
        Robot(ros_node)
        assert operator.trigger("start").success
        status = operator.wait_for_reason("gpu-box:5555 did not answer")
        assert status.state == PolicyStatus.STATE_WAITING
        operator.wait_for_status(lambda s: s.inference_errors >= 3, "it goes on trying")
    wait_until(lambda: chunks, 15.0, "a chunk")
    assert capfd.readouterr().err.count("not inferring: ") == 1


def test_a_policy_that_does_not_fit_when_it_comes_is_not_asked(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [PolicyTimeoutError("not there yet")]
    original = policy.get_modality_config

    def config() -> dict[str, ModalityConfig]:
        if answers:
            raise answers.pop()
        return original()

    monkeypatch.setattr(policy, "get_modality_config", config)
    make_node(state__gripper__joints=["finger", "wheel"])
    Robot(ros_node)
    assert operator.trigger("start").success
    operator.wait_for_reason("state.gripper has 2 joints, the policy expects 1")
    assert policy.observations == []


def test_cleanup_with_a_policy_that_hangs_returns(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    policy.go.clear()
    Robot(ros_node)
    operator.trigger("start")
    wait_until(lambda: policy.observations, 15.0, "the policy is asked")
    assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
    assert "the policy hangs in a call" in capfd.readouterr().err
    policy.go.set()


def test_two_answers_of_history_reach_the_policy(
    ros_context: Context, spin: Callable[[Node], Node], ros_node: Node, operator: Operator
) -> None:
    policy = EchoPolicy(video_delta_indices=(-4, 0), state_delta_indices=(-2, 0))
    node = PolicyNode(
        policy_factory=lambda settings: policy,
        context=ros_context,
        parameter_overrides=overrides(parameters()),
    )
    spin(node)
    robot = Robot(ros_node)
    assert operator.trigger("start").success
    wait_until(lambda: policy.observations, 15.0, "an observation")
    observation = policy.observations[-1]
    assert observation["video"]["front"].shape == (1, 2, 2, 3, 3)
    assert observation["state"]["arm"].shape == (1, 2, 2)
    robot.pictures_on = False
    assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]


def test_image_messages_of_an_unknown_encoding_are_named(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node()
    Robot(ros_node, camera=False)
    camera = ros_node.create_publisher(Image, "front/image_raw", 5)

    def publish() -> None:
        message = Image(height=1, width=1, step=2, encoding="bayer_rggb16", data=bytes(2))
        message.header.stamp = ros_node.get_clock().now().to_msg()
        camera.publish(message)

    ros_node.create_timer(0.03, publish)
    assert operator.trigger("start").success
    operator.wait_for_reason("bayer_rggb16")


# Simulated time


def test_simulated_time_is_the_time_of_observations_and_of_the_cadence(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(use_sim_time=True, replan_interval_s=0.5)
    sim_time = SimulatedTime(ros_node)
    Robot(ros_node, now_ns=sim_time.ns)
    assert operator.trigger("start").success
    sim_time.run(lambda: len(chunks) >= 3, "chunks")
    t0s_s = [c.header.stamp.sec + c.header.stamp.nanosec * 1e-9 for c in chunks]
    assert 1000.0 <= t0s_s[0] < t0s_s[1] < t0s_s[2] <= sim_time.now_s
    assert t0s_s[2] - t0s_s[1] > 0.3

    # While time stands still nothing is asked, and the status goes on.
    quiet_for(chunks)
    count = len(chunks)
    operator.wait_for_status(lambda s: True, "a status while time stands still")
    assert len(chunks) == count

    sim_time.now_s = 5.0  # the simulation starts again
    sim_time.run(lambda: len(chunks) > count + 1, "chunks of the new time")
    assert chunks[-1].header.stamp.sec < 900
