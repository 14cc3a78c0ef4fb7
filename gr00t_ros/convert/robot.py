# SPDX-License-Identifier: Apache-2.0
"""The robot whose bags are converted: its YAML file, or the one that was recorded with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.contract.streams import ActionOutput, StateStream, VideoStream
from gr00t_ros.node.offline_nodes import contract_of_file, parameters_of_file

Entry = TypeVar("Entry", VideoStream, StateStream, ActionOutput)

# Parameters that decide over a dataset; others, such as the server's address, may change.
DECISIVE = ("video.", "state.", "action.", "action_rate_hz", "max_age_s", "max_skew_s", "record.")


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot.

    Args:
        contract: Its contract.
        config: The text that tells whether two conversions are of the same robot.
        parameters: Those of the policy node by full name, as they were given.
        namespace: The namespace of its nodes.
    """

    contract: Contract
    config: str
    parameters: Mapping[str, Any]
    namespace: str


def robot_of_file(file: Path, *, namespace: str) -> Robot:
    """Read the robot's YAML file.

    Raises:
        SpecError: The file is wrong; one sentence for each problem.
    """
    contract = with_full_names(contract_of_file(file, namespace=namespace), namespace)
    config = f"{namespace}\n{file.read_text(encoding='utf-8')}"
    return Robot(contract, config, parameters_of_file(file, namespace=namespace), namespace)


def recorded_robot(bags: Sequence[Path]) -> Robot:
    """Read the robot from the bags of gr00t_ros's recorder.

    Raises:
        SpecError: A bag has no configuration, or another one than the first bag.
    """
    first: Mapping[str, Any] | None = None
    for path in bags:
        parameters = _decisive(path)
        if parameters is None:
            continue  # it cannot be read at all: the conversion reports it
        if first is not None and parameters != first:
            names = sorted(n for n in {**first, **parameters} if first.get(n) != parameters.get(n))
            raise SpecError(
                "the bags are of different robots",
                [f"{path}: another {', '.join(names)} than in {bags[0]}; name a file by --config"],
            )
        first = parameters
    if first is None:
        raise SpecError("no robot", ["no bag can be read; name the robot's YAML file by --config"])
    config = str(sorted(first.items()))
    return Robot(with_full_names(parse_contract(first)), config, first, namespace="")


def with_full_names(contract: Contract, namespace: str = "") -> Contract:
    """The contract with the topics of its streams and actions by the names that bags have."""

    def full(topic: str) -> str:
        prefix = f"/{namespace.strip('/')}".rstrip("/")
        return topic if topic.startswith("/") else f"{prefix}/{topic}"

    def with_full_name(entry: Entry) -> Entry:
        return replace(entry, topic=full(entry.topic))

    return replace(
        contract,
        intervention_topic=full(contract.intervention_topic),
        video=tuple(map(with_full_name, contract.video)),
        state=tuple(
            replace(state, streams=tuple(map(with_full_name, state.streams)))
            for state in contract.state
        ),
        action=tuple(map(with_full_name, contract.action)),
    )


def _decisive(path: Path) -> dict[str, Any] | None:
    """The decisive parameters of a bag; None for a bag that cannot be read."""
    try:
        bag = Bag(path)
    except (PolicyError, OSError):
        return None
    try:
        parameters = bag.info.parameters if bag.info is not None else {}
    except ValueError as error:
        raise SpecError("no robot", [f"{path}: {error}; name its YAML file by --config"]) from error
    if not parameters:
        raise SpecError(
            "no robot", [f"{path} was recorded without one; name its YAML file by --config"]
        )
    chosen = {name: v for name, v in parameters.items() if name.startswith(DECISIVE)}
    return {**chosen, "instruction": parameters.get("instruction", "")}
