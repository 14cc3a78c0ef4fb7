# SPDX-License-Identifier: Apache-2.0
"""Converts one bag to written episodes, in a folder of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gr00t_policy_core.errors import PolicyError
from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.episode_info import FAILURE
from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract
from gr00t_ros.convert.actions import action_source
from gr00t_ros.convert.bag_messages import (
    Progress,
    message_types,
    rejections,
    task_of,
    timed_messages,
)
from gr00t_ros.convert.filters import counted
from gr00t_ros.convert.interventions import Interventions, intervention_topic
from gr00t_ros.convert.report import BagReport
from gr00t_ros.convert.run_writer import RunWriter
from gr00t_ros.convert.settings import ConversionSettings
from gr00t_ros.convert.steps import Dropped, StepBuilder
from gr00t_ros.policy.stream_buffers import StreamBuffers

FAILED = "marked as failed"


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
    bag: Bag | None = None
    try:
        bag = Bag(path)
        if settings.filters.failed and bag.info is not None and bag.info.outcome == FAILURE:
            return BagReport(bag=str(path), skipped=FAILED, outcome=FAILURE)
        return _converted(bag, folder, contract, settings, progress)
    except PolicyError as error:
        truncated = bag.truncated if bag is not None else ""
        return BagReport(bag=str(path), skipped=str(error), truncated=truncated)


def _converted(
    bag: Bag,
    folder: Path,
    contract: Contract,
    settings: ConversionSettings,
    progress: Progress,
) -> BagReport:
    received = StreamBuffers(contract)
    actions = action_source(settings.lead_steps, contract, received)
    types = message_types(bag, contract, actions, clock_topic=settings.clock_topic)
    interventions = _interventions(bag, contract, settings)
    types |= interventions.topics
    task = task_of(bag, settings.task or contract.record.task)
    outcome = bag.info.outcome if bag.info is not None else ""
    missing: Counter[str] = Counter()
    interruptions: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    messages = timed_messages(bag, types, unreadable, progress)
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
        rejected={**rejected, **rejections(contract, received.rejected)},
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
