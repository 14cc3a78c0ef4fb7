# SPDX-License-Identifier: Apache-2.0
"""The messages of a bag that a contract needs, in order and with their times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock

from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.reader import Bag
from gr00t_ros.bags.reception_order import in_order_of_reception
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.convert.actions import ActionSource
from gr00t_ros.convert.steps import TimedMessage
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.interfaces.transform_buffer import TransformBuffer
from gr00t_ros.node.rejected_messages import UNREADABLE, RejectedMessages
from gr00t_ros.policy.streams import IMAGE_TYPES

CLOCK = "/clock"
PROGRESS_S = 0.25  # of the recording, between two calls of the progress

Progress = Callable[[float], None]


def task_of(bag: Bag, otherwise: str) -> str:
    """The task of a bag, the instruction of a policy.

    Args:
        bag: The bag.
        otherwise: The task of a bag that does not name its own; empty for none.

    Raises:
        BagError: There is none.
    """
    task = (bag.info.task if bag.info is not None else "") or otherwise
    if not task:
        raise BagError("it names no task; give one by --task or by `instruction` in the YAML file")
    return task


def message_types(
    bag: Bag, contract: Contract, actions: ActionSource, *, clock_topic: bool
) -> dict[str, type[Any]]:
    """The class of the messages of each topic that is needed.

    Args:
        bag: The bag.
        contract: Names the topics of the observations.
        actions: Names those of the actions.
        clock_topic: Whether the time is that of the bag's /clock.

    Raises:
        BagError: The bag lacks a topic, or it has another type.
    """
    types: dict[str, type[Any]] = {}
    problems: list[str] = []
    for stream in contract.streams:
        expected = list(IMAGE_TYPES.values())
        if isinstance(stream, StateStream):
            if isinstance(stream.interface.make_buffer(0), TransformBuffer):
                problems.append(f"{stream.name}: source tf is not converted, use joint_states")
                continue
            expected = [stream.interface.message_type]
        problems += _add_type(bag, types, stream.name, stream.topic, expected)
    for topic, message_type in actions.topics.items():
        names = ", ".join(o.name for o in contract.action if o.topic == topic)
        problems += _add_type(bag, types, names, topic, [message_type])
    if clock_topic:
        problems += _add_type(bag, types, "the clock", CLOCK, [Clock])
    if problems:
        raise BagError("; ".join(dict.fromkeys(problems)))
    return types


def _add_type(
    bag: Bag, types: dict[str, type[Any]], name: str, topic: str, expected: list[type[Any]]
) -> Iterator[str]:
    """Add the class of a topic's messages, or yield a sentence that says what is wrong."""
    found = bag.topics.get(topic)
    if found is None:
        hint = did_you_mean(topic, bag.topics)
        yield f"{name}: the bag has no topic {topic}{hint}"
        return
    by_name: Mapping[str, type[Any]] = {ros_type(cls): cls for cls in expected}
    if found not in by_name:
        yield f"{name}: {topic} carries {found}, expected {' or '.join(by_name)}"
        return
    types[topic] = by_name[found]


def timed_messages(
    bag: Bag, types: Mapping[str, type[Any]], unreadable: Counter[str], progress: Progress
) -> Iterator[TimedMessage]:
    """Deserialize the messages; with /clock among the types, they come at its time.

    Args:
        bag: The bag.
        types: The class of the messages of each topic, as `message_types` returns them.
        unreadable: Counts the messages that cannot be read, by topic.
        progress: Called with the seconds of the recording that were read since the last call.
    """
    clock_ns: int | None = None
    reported_ns: int | None = None
    for message in in_order_of_reception(bag.messages(types), types):
        try:
            content = deserialize_message(message.data, types[message.topic])
        except Exception:  # rclpy's exceptions differ between its versions
            unreadable[message.topic] += 1
            continue
        if message.topic == CLOCK and types[CLOCK] is Clock:
            clock_ns = content.clock.sec * 1_000_000_000 + content.clock.nanosec
            continue
        now_ns = message.received_ns if CLOCK not in types else clock_ns
        if now_ns is None:  # the live node has no time either before the first /clock
            continue
        reported_ns = message.received_ns if reported_ns is None else reported_ns
        passed_s = (message.received_ns - reported_ns) * 1e-9
        if not 0.0 <= passed_s < PROGRESS_S:
            reported_ns = message.received_ns
            progress(max(0.0, passed_s))
        yield TimedMessage(message.topic, content, now_ns, message.losses)


def rejections(contract: Contract, rejected: RejectedMessages) -> dict[str, str]:
    """What was wrong with the messages of each stream or action that could not be used."""
    names = [entry.name for entry in (*contract.streams, *contract.action)]
    found = {}
    for name in names:
        rejection = rejected.latest(name)
        if rejection is not None:
            count = rejected.count(name)
            cause = "" if rejection.cause == UNREADABLE else f"{rejection.cause} "
            found[name] = f"{count} messages rejected, the last: {cause}{rejection.detail}"
    return found
