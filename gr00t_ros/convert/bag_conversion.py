# SPDX-License-Identifier: Apache-2.0
"""Converts one bag to written episodes, in a folder of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock

from gr00t_policy_core.errors import PolicyError
from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.episode_info import FAILURE
from gr00t_ros.bags.reader import Bag
from gr00t_ros.bags.reception_order import in_order_of_reception
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.convert.actions import ActionSource, action_source
from gr00t_ros.convert.filters import counted
from gr00t_ros.convert.interventions import Interventions, intervention_topic
from gr00t_ros.convert.report import BagReport
from gr00t_ros.convert.run_writer import RunWriter
from gr00t_ros.convert.settings import ConversionSettings
from gr00t_ros.convert.steps import Dropped, StepBuilder, TimedMessage
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.interfaces.transform_buffer import TransformBuffer
from gr00t_ros.policy.rejected_messages import UNREADABLE
from gr00t_ros.policy.stream_buffers import StreamBuffers
from gr00t_ros.policy.streams import IMAGE_TYPES

CLOCK = "/clock"
FAILED = "marked as failed"
PROGRESS_S = 0.25  # of the recording, between two calls of the progress

Progress = Callable[[float], None]


def convert_bag(
    path: Path,
    folder: Path,
    contract: Contract,
    settings: ConversionSettings,
    progress: Progress,
) -> BagReport:
    """Convert a bag; a bag that cannot be converted is reported with the reason.

    Args:
        path: The bag.
        folder: Gets a folder for each episode.
        contract: The robot.
        settings: How it is converted.
        progress: Called with the seconds of the recording that were converted since the last call.

    Raises:
        OSError: The folder cannot be written.
        ImportError: A library is not installed.
    """
    try:
        bag = Bag(path)
        if settings.filters.failed and bag.info is not None and bag.info.outcome == FAILURE:
            return BagReport(bag=str(path), skipped=FAILED, outcome=FAILURE)
        return _converted(bag, folder, contract, settings, progress)
    except PolicyError as error:
        return BagReport(bag=str(path), skipped=str(error))


def _converted(
    bag: Bag,
    folder: Path,
    contract: Contract,
    settings: ConversionSettings,
    progress: Progress,
) -> BagReport:
    received = StreamBuffers(contract)
    actions = action_source(settings.lead_steps, contract, received)
    types = _message_types(bag, contract, received, actions, settings)
    interventions = _interventions(bag, contract, settings)
    types |= interventions.topics
    task = (bag.info.task if bag.info is not None else "") or settings.task or contract.record.task
    if not task:
        raise BagError("it names no task; give one by --task or by `instruction` in the YAML file")
    outcome = bag.info.outcome if bag.info is not None else ""
    missing: Counter[str] = Counter()
    interruptions: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    messages = _messages(bag, types, unreadable, progress)
    details = {"bag": bag.path.name, "outcome": outcome}
    with RunWriter(folder, contract, settings, task=task, details=details) as writer:
        builder = StepBuilder(contract, received, actions, interventions)
        for event in builder.events(messages):
            if not isinstance(event, Dropped):
                writer.add(event)
                continue
            writer.end_run()
            if event.count:
                missing[event.cause] += event.count
            else:
                interruptions[event.cause] += 1
        writer.end_run()
    rejected = {topic: f"{count} messages cannot be read" for topic, count in unreadable.items()}
    return BagReport(
        bag=str(bag.path),
        truncated=bag.truncated,
        task=task,
        outcome=outcome,
        steps=sum(writer.episodes),
        episodes=writer.episodes,
        interventions=writer.interventions,
        intervention_steps=writer.intervention_steps,
        missing=counted(missing),
        filtered=counted(writer.filtered),
        interruptions=counted(interruptions),
        rejected={**rejected, **_rejected(contract, received)},
        sharpness=writer.median_sharpness(),
    )


def _interventions(bag: Bag, contract: Contract, settings: ConversionSettings) -> Interventions:
    """Who drove in a bag.

    Raises:
        BagError: Only corrections are wanted, and the bag does not say which they are.
    """
    topic = intervention_topic(bag, contract)
    if topic is None and settings.filters.corrections_only:
        raise BagError(
            f"it has no topic {contract.intervention_topic} of std_msgs/msg/Bool, which says when "
            "a person corrected the policy"
        )
    return Interventions(topic)


def _message_types(
    bag: Bag,
    contract: Contract,
    received: StreamBuffers,
    actions: ActionSource,
    settings: ConversionSettings,
) -> dict[str, type[Any]]:
    """The class of the messages of each topic that is needed.

    Raises:
        BagError: The bag lacks a topic, or it has another type.
    """
    types: dict[str, type[Any]] = {}
    problems: list[str] = []
    for stream in contract.streams:
        expected = list(IMAGE_TYPES.values())
        if isinstance(stream, StateStream):
            if isinstance(received.buffers[stream.name], TransformBuffer):
                problems.append(f"{stream.name}: source tf is not converted, use joint_states")
                continue
            expected = [stream.interface.message_type]
        problems += _add_type(bag, types, stream.name, stream.topic, expected)
    for topic, message_type in actions.topics.items():
        names = ", ".join(o.name for o in contract.action if o.topic == topic)
        problems += _add_type(bag, types, names, topic, [message_type])
    if settings.clock_topic:
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


def _messages(
    bag: Bag, types: Mapping[str, type[Any]], unreadable: Counter[str], progress: Progress
) -> Iterator[TimedMessage]:
    """Deserialize the messages; with /clock among the types, they come at its time."""
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
        yield TimedMessage(message.topic, content, now_ns)


def _rejected(contract: Contract, received: StreamBuffers) -> dict[str, str]:
    """What was wrong with the messages of each stream or action that could not be used."""
    names = [entry.name for entry in (*contract.streams, *contract.action)]
    found = {}
    for name in names:
        rejection = received.rejected.latest(name)
        if rejection is not None:
            count = received.rejected.count(name)
            cause = "" if rejection.cause == UNREADABLE else f"{rejection.cause} "
            found[name] = f"{count} messages rejected, the last: {cause}{rejection.detail}"
    return found
