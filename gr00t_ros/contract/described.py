# SPDX-License-Identifier: Apache-2.0
"""A contract whose end effectors know the robot description. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput, StateInput, StateStream


def entries_to_describe(contract: Contract) -> Iterator[str]:
    """Yield the name of each state and action that needs a robot description."""
    entries = (*contract.state_streams, *contract.action)
    yield from (entry.name for entry in entries if entry.interface.needs_description)


def described(contract: Contract, urdf: str) -> Contract:
    """Return the contract for the robot of a description.

    Args:
        contract: The user's parameters.
        urdf: The URDF document.

    Raises:
        SpecError: The description does not fit; one sentence for each problem.
    """
    problems: list[str] = []

    def stream_of(stream: StateStream) -> StateStream:
        try:
            return replace(stream, interface=stream.interface.described(urdf))
        except ValueError as error:
            problems.append(f"{stream.name}: {error}")
            return stream

    def output_of(output: ActionOutput) -> ActionOutput:
        try:
            return replace(output, interface=output.interface.described(urdf, output.limits))
        except ValueError as error:
            problems.append(f"{output.name}: {error}")
            return output

    states = tuple(
        StateInput(state.key, tuple(map(stream_of, state.streams))) for state in contract.state
    )
    actions = tuple(map(output_of, contract.action))
    if problems:
        raise SpecError("the robot description does not fit", problems)
    return replace(contract, state=states, action=actions)
