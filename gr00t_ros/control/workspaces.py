# SPDX-License-Identifier: Apache-2.0
"""Makes the workspaces of a contract from the robot description. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.body_workspace import BodyWorkspace
from gr00t_policy_core.control.workspace import Workspace
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.kinematics.chain import Chain, KinematicsUnavailableError, load_pinocchio
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.workspaces import WorkspaceSettings

Chains = Mapping[str, Chain]
"""The kinematics of each workspace, by its key."""
NO_CHAINS: Chains = MappingProxyType({})


def require_kinematics(contract: Contract) -> None:
    """Require what workspaces are computed with.

    Raises:
        SpecError: A workspace is given, and Pinocchio is not installed.
    """
    if not contract.workspaces:
        return
    try:
        load_pinocchio()
    except KinematicsUnavailableError as error:
        names = ", ".join(workspace.name for workspace in contract.workspaces)
        raise SpecError("bad parameters", [f"{names}: {error}"]) from error


def workspace_chains(contract: Contract, urdf: str) -> tuple[Chains, list[str]]:
    """Make the kinematics of each workspace; none where one of them does not fit.

    Args:
        contract: Names the links and the commanded joints.
        urdf: The URDF document.

    Returns:
        The kinematics, and a sentence for each workspace that the description does not fit, or
        whose tip a joint moves that is not commanded in position: nothing would know where it goes.
    """
    chains, problems = {}, []
    for workspace in contract.workspaces:
        try:
            chains[workspace.key] = _chain(contract, workspace, urdf)
        except ValueError as error:
            problems.append(f"{workspace.name}: {error}")
    return (NO_CHAINS if problems else chains), problems


def _chain(contract: Contract, workspace: WorkspaceSettings, urdf: str) -> Chain:
    chain = Chain(urdf, workspace.base, workspace.tip, workspace.tool)
    places = _places(contract)
    free = [joint for joint in chain.joints if joint not in places]
    if free:
        raise ValueError(
            f"{', '.join(free)} moves {workspace.tip} against {workspace.base}, and no action "
            "commands its position: choose another base"
        )
    return chain


def workspaces_in_force(
    contract: Contract, chains: Chains, layout: ActionLayout
) -> tuple[Workspace, ...]:
    """Return the workspaces for the command vector of a layout; none before a description."""
    places = _places(contract)

    def index(joint: str) -> int:
        key, number = places[joint]
        return layout.slices[key].start + number

    return tuple(
        Workspace(
            name=workspace.name,
            indices=tuple(map(index, chains[workspace.key].joints)),
            tip=chains[workspace.key],
            sides=workspace.sides,
        )
        for workspace in contract.workspaces
        if workspace.key in chains
    )


def body_workspaces(contract: Contract, layout: ActionLayout) -> tuple[BodyWorkspace, ...]:
    """Return the workspaces of the poses that are commanded straight to a controller."""
    return tuple(
        BodyWorkspace(output.name, output.key, layout.slices[output.key], output.interface.sides)
        for output in contract.action
        if output.interface.sides
    )


def _places(contract: Contract) -> dict[str, tuple[str, int]]:
    """The action of each joint that is commanded in position, and its place in that action."""
    return {
        joint: (output.key, number)
        for output in contract.action
        if output.commands_joint_positions
        for number, joint in enumerate(output.joints)
    }
