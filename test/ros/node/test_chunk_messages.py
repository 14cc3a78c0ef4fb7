# SPDX-License-Identifier: Apache-2.0
from helpers import wait_until
from rclpy.node import Node

from gr00t_ros.msg import ActionChunk, ActionValues


def test_an_action_chunk_crosses_dds_unchanged(ros_node: Node) -> None:
    values = ActionValues(name="single_arm", dimension=2, values=[0.25, -1.5, 3.0, 0.0])
    sent = ActionChunk(chunk_id=7, dt=0.05, horizon=2, actions=[values], policy_time_s=0.125)
    sent.header.stamp.sec = 12
    received = []
    ros_node.create_subscription(ActionChunk, "chunks", received.append, 1)
    publisher = ros_node.create_publisher(ActionChunk, "chunks", 1)
    wait_until(publisher.get_subscription_count, what="the subscription is discovered")

    publisher.publish(sent)

    wait_until(lambda: received, what="the chunk arrives")
    assert received == [sent]
