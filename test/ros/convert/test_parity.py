# SPDX-License-Identifier: Apache-2.0
"""Live and converted observations of the same time are equal, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demonstration_bags import (
    START_NS,
    Recorded,
    recording,
    write_plain_bag,
)
from helpers import wait_until
from nodes_for_tests import Operator, overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.convert.actions import action_source
from gr00t_ros.convert.interventions import Interventions
from gr00t_ros.convert.robot import with_full_names
from gr00t_ros.convert.steps import Step, StepBuilder, TimedMessage
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy.observation_builder import NotReadyError, ObservationBuilder
from gr00t_ros.policy.policy_node import PolicyNode
from gr00t_ros.policy.stream_buffers import StreamBuffers

CHANGES: dict[str, Any] = {"max_skew_s": 0.03, "state__arm__scale": 57.3, "video__front__width": 24}
CHANGES["video__front__height"] = 16


def contract() -> Contract:
    return with_full_names(parse_contract(parameters(**CHANGES)))


def timed(messages: list[Recorded]) -> Iterator[TimedMessage]:
    for m in messages:
        yield TimedMessage(m.topic, m.message, START_NS + round(m.time_s * 1e9))


def converted(messages: Iterator[TimedMessage]) -> dict[int, Step]:
    """The steps of a conversion, by their times."""
    robot = contract()
    received = StreamBuffers(robot)
    actions = action_source(None, robot, received)
    builder = StepBuilder(robot, received, actions, Interventions(None))
    return {e.t0_ns: e for e in builder.events(messages) if isinstance(e, Step)}


def delayed(messages: list[Recorded], jitter_s: float) -> list[Recorded]:
    """The messages with delays that differ; those of one topic stay in order, as on DDS."""
    late = np.random.default_rng(0)
    newest: dict[str, float] = {}
    received = []
    for m in messages:
        received_s = m.time_s + late.uniform(0.0, jitter_s)
        newest[m.topic] = max(received_s, newest.get(m.topic, 0.0))
        received.append(Recorded(m.topic, m.message, newest[m.topic]))
    return sorted(received, key=lambda m: m.time_s)


def require_equal(observation: dict[str, Any], step: Step) -> None:
    for key, image in step.images.items():
        np.testing.assert_array_equal(observation["video"][key][0, 0], image)
    for key, values in step.state.items():
        assert observation["state"][key].dtype == values.dtype
        assert observation["state"][key][0, 0].tobytes() == values.tobytes()


@pytest.mark.parametrize("jitter_s", [0.0, 0.012])
def test_the_builder_of_the_node_fed_in_the_same_order_builds_the_same(jitter_s: float) -> None:
    """It is asked after every message, as the node does while it waits for one."""
    messages = delayed(recording(4.0), jitter_s)
    robot = contract()
    received = StreamBuffers(robot)
    configs = EchoPolicy().get_modality_config()
    builder = ObservationBuilder(robot, configs, received.buffers, rejected=received.rejected)
    steps = converted(timed(messages))
    compared: set[int] = set()
    for message in timed(messages):
        for stream in robot.streams:
            if stream.topic == message.topic:
                received.receive(
                    stream, message.message, now_ns=message.now_ns, received_ns=message.now_ns
                )
        try:
            built = builder.build(message.now_ns, "go")
        except NotReadyError:
            continue
        if built.t0_ns in steps:
            compared.add(built.t0_ns)
            require_equal(built.observation, steps[built.t0_ns])
    assert len(steps) > 70
    assert len(compared) > 70


class Player:
    """Publishes a recording, and the time of each message before it on /clock."""

    def __init__(self, node: Node) -> None:
        qos = QoSProfile(depth=1000)
        self._clock = node.create_publisher(Clock, "/clock", qos)
        self._publishers = {
            "/front/image_raw": node.create_publisher(Image, "front/image_raw", qos),
            "/joint_states": node.create_publisher(JointState, "joint_states", qos),
            "/commands": node.create_publisher(JointTrajectory, "commands", qos),
        }

    def has_subscribers(self) -> bool:
        streams = ("/front/image_raw", "/joint_states")
        return all(self._publishers[topic].get_subscription_count() for topic in streams)

    def publish(self, message: TimedMessage) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(message.now_ns, 1_000_000_000)
        self._clock.publish(clock)
        self._publishers[message.topic].publish(message.message)


def test_a_bag_played_through_the_live_node_gives_the_observations_of_the_conversion(
    tmp_path: Path,
    ros_context: Context,
    ros_node: Node,
    live: Callable[[ManagedNode], None],
) -> None:
    bag = Bag(write_plain_bag(tmp_path / "bag.mcap", recording(4.0)))
    classes = {"/front/image_raw": Image, "/joint_states": JointState, "/commands": JointTrajectory}
    messages = [
        TimedMessage(m.topic, deserialize_message(m.data, classes[m.topic]), m.received_ns)
        for m in bag.messages(classes)
    ]
    steps = converted(iter(messages))
    policy = EchoPolicy()
    chunks: list[ActionChunk] = []
    ros_node.create_subscription(ActionChunk, "action_chunk", chunks.append, 100)
    node = PolicyNode(
        policy_factory=lambda settings: policy,
        context=ros_context,
        parameter_overrides=overrides(
            {
                **parameters(**CHANGES, replan_interval_s=0.05),
                "use_sim_time": True,
                "autostart": True,
            }
        ),
    )
    live(node)
    operator = Operator(ros_node, "policy_node")
    assert operator.trigger("start").success
    player = Player(ros_node)
    wait_until(player.has_subscribers, what="the node has subscribed")
    pause = threading.Event()
    for message in messages:
        player.publish(message)
        pause.wait(0.004)  # slower than the recording: nothing is lost for lack of time
    wait_until(lambda: len(chunks) >= 10, what="ten chunks")
    compared = 0
    # The policy keeps its observations in the order in which the chunks are published.
    for observation, chunk in zip(policy.observations, chunks, strict=False):
        stamp = chunk.header.stamp
        step = steps.get(stamp.sec * 1_000_000_000 + stamp.nanosec)
        if step is not None:
            require_equal(observation, step)
            compared += 1
    assert compared >= 5
