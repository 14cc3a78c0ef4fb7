# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy check`: everything that is wrong with a robot's YAML file, without any motion."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import (
    TOKEN_VARIABLE,
    add_key_flags,
    add_timeout_flag,
    namespace,
    port,
    refuse_without_effect,
    write_line,
)
from gr00t_policy_core.cli.query import require_known_host
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_ros.cli.asked_server import asked_server

if TYPE_CHECKING:
    from gr00t_policy_core.modality import ModalityConfig
    from gr00t_ros.contract.contract import Contract

SERVER_FLAGS = ("port", "api_token", "server_key", "keys", "timeout_ms")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found.

    Args:
        problems: Each keeps the nodes from being configured, or the robot from moving.
        warnings: The nodes start all the same; they log each, or wait for what is missing.
        unchecked: What the file was not compared with, and the flag that would have it compared.
    """

    problems: Sequence[str]
    warnings: Sequence[str] = ()
    unchecked: Sequence[str] = ()


def add_command(commands: Any) -> None:
    """Add `check` to the subparsers of the program."""
    parser = commands.add_parser(
        "check",
        help="check a robot's YAML file, by itself and against a policy",
        description="Check a robot's YAML file as `configure` does, and report every problem at "
        "once. Nothing moves, no node has to run; exit status 1 if there is a problem.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("file", type=Path, help="YAML file with the parameters of both nodes")
    parser.add_argument(
        "--host", help="compare the file with the policy of this server, too; or ipc:///path"
    )
    parser.add_argument("--port", type=port, help="TCP port (default: as in the file)")
    parser.add_argument(
        "--api-token",
        metavar="TOKEN",
        help=f"the server's token (default: the environment variable {TOKEN_VARIABLE}, or else as "
        "in the file)",
    )
    add_key_flags(parser)
    add_timeout_flag(parser)
    parser.add_argument(
        "--urdf",
        type=Path,
        metavar="FILE",
        help="compare the joints, limits, links and tips with this robot description, too",
    )
    parser.add_argument(
        "--namespace", type=namespace, default="", help="namespace of the nodes (default: none)"
    )


def run(args: argparse.Namespace) -> int:
    """Print every problem and every warning."""
    if args.host is None:
        refuse_without_effect(args, SERVER_FLAGS, "without --host no server is asked")
    found = check(args)
    for problem in found.problems:
        write_line(f"problem: {problem}")
    for warning in found.warnings:
        write_line(f"warning: {warning}")
    write_line(f"{args.file}: {_summary(found)}")
    return int(bool(found.problems))


def check(args: argparse.Namespace) -> Findings:
    """Check a file by itself, then against the policy and the robot description that are given.

    Raises:
        PolicyError: The server does not answer.
        ImportError: The messages of ROS 2 are not installed, or not sourced.
        OSError: The robot description cannot be read.
    """
    try:
        contract = _contract(args.file, args.namespace)
    except SpecError as error:
        return Findings(error.problems)
    problems, warnings, unchecked = list(_missing_kinematics(contract)), [], []
    if args.host is not None:
        try:
            warnings += _policy_warnings(contract, args)
        except SpecError as error:
            problems += error.problems
    else:
        unchecked.append("a policy (--host)")
    if args.urdf is not None:
        findings = _description_findings(contract, args.urdf.read_text(encoding="utf-8"))
        problems += findings.problems
        warnings += findings.warnings
    else:
        unchecked.append("a robot description (--urdf)")
    return Findings(problems, warnings, unchecked)


def _contract(path: Path, namespace: str) -> Contract:
    try:
        from gr00t_ros.node.offline_nodes import contract_of_file
    except ImportError as error:
        raise ImportError(
            f"the messages of ROS 2 are needed to check a file ({error}): source its setup.bash, "
            "and that of the workspace that holds gr00t_ros"
        ) from error
    return contract_of_file(path, namespace=namespace)


def _missing_kinematics(contract: Contract) -> Iterator[str]:
    """Yield what each node says where Pinocchio is needed and not installed."""
    from gr00t_ros.control.workspaces import require_kinematics
    from gr00t_ros.policy.described_contract import DescribedContract

    for require in (DescribedContract, require_kinematics):
        try:
            require(contract)
        except SpecError as error:
            yield from error.problems


def _policy_warnings(contract: Contract, args: argparse.Namespace) -> list[str]:
    """Compare the file with the policy of a server.

    Raises:
        SpecError: They differ; one sentence for each mismatch.
        PolicyError: The server does not answer, or has no policy to compare with yet.
    """
    from gr00t_ros.policy.inference_session import compatibility_warnings, require_compatible
    from gr00t_ros.policy.observation_builder import NotReadyError
    from gr00t_ros.policy.policy_backend import close_policy, make_policy

    require_known_host(args.host)
    policy = make_policy(asked_server(contract.policy, args))
    try:
        configs = require_compatible(contract, policy)
        warnings = compatibility_warnings(contract, configs, policy.get_capabilities())
        return [*warnings, *_missing_instruction(contract, configs)]
    except NotReadyError as error:
        raise PolicyError(str(error)) from error
    finally:
        close_policy(policy)


def _missing_instruction(
    contract: Contract, configs: Mapping[str, ModalityConfig]
) -> Iterator[str]:
    language = configs.get("language")
    if language is not None and language.modality_keys and not contract.instruction:
        yield (
            "instruction is empty, and the policy reads one: it is not asked before one comes, by "
            "instruction:='…' of the launch, on ~/instruction, or from a task"
        )


def _description_findings(contract: Contract, text: str) -> Findings:
    from gr00t_policy_core.kinematics.chain import KinematicsUnavailableError
    from gr00t_ros.contract.described import described
    from gr00t_ros.control.robot_description import RobotDescription

    topics = contract.motion.robot_description_topics
    if not topics:
        return Findings([], ["robot_description_topic is empty: the nodes read no description"])
    description = RobotDescription(contract)
    problems: list[str] = []
    try:
        description.update(topics[0], text)
        described(contract, text)
    except KinematicsUnavailableError:  # said already
        return Findings([])
    except SpecError as error:
        problems += error.problems
    except ValueError as error:
        return Findings([str(error)])
    return Findings([*problems, *description.motion_obstacles()], list(description.warnings()))


def _summary(found: Findings) -> str:
    parts = [_number(len(found.problems), "problem")]
    if found.warnings:
        parts.append(_number(len(found.warnings), "warning"))
    if found.unchecked and not found.problems:
        parts.append(f"not compared with {' or '.join(found.unchecked)}")
    return ", ".join(parts)


def _number(count: int, noun: str) -> str:
    plural = "" if count == 1 else "s"
    return f"{count or 'no'} {noun}{plural}"
