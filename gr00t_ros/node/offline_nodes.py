# SPDX-License-Identifier: Apache-2.0
"""Reads a parameter file as the two nodes do, without joining a ROS graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rclpy.node import Node

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameter_files import FLAG, unmatched
from gr00t_ros.node.isolation import isolated_context
from gr00t_ros.node.node_parameters import (
    declare_overrides,
    declare_parameters,
    given_values,
    read_contract,
)
from gr00t_ros.node.startup import file_problems, rejected_files

NODE_NAMES = ("policy_node", "control_node")


def contract_of_file(path: Path, *, namespace: str = "") -> Contract:
    """Read the contract that a parameter file gives to the nodes.

    The file is read by rcl, into a node for each name in turn, so that it means what it will mean
    to the nodes. Nothing is subscribed or published.

    Args:
        path: The parameter file, in YAML.
        namespace: The namespace of the nodes.

    Raises:
        SpecError: The file cannot be read, or one of the nodes could not be configured by it; one
            sentence for each problem.
    """
    problems = file_problems([path])
    if problems:
        raise SpecError("the file cannot be read", problems)
    read = [_contract_or_error(path, name, namespace) for name in NODE_NAMES]
    errors = [error for error in read if isinstance(error, SpecError)]
    if errors:
        found = dict.fromkeys(problem for error in errors for problem in error.problems)
        raise SpecError(errors[0].what, list(found))
    return next(contract for contract in read if isinstance(contract, Contract))


def parameters_of_file(path: Path, *, namespace: str = "") -> dict[str, Any]:
    """Read the values that a parameter file gives to the policy node, by full name.

    Args:
        path: The parameter file, which `contract_of_file` accepts.
        namespace: The namespace of the nodes.
    """
    with _node(path, NODE_NAMES[0], namespace) as node:
        declare_parameters(node)
        return given_values(node)


def _contract_or_error(path: Path, name: str, namespace: str) -> Contract | SpecError:
    try:
        with _node(path, name, namespace) as node:
            given = node._parameter_overrides
            problems = list(unmatched([path], node.get_fully_qualified_name(), given))
            if problems:
                return SpecError("the file does not name the nodes", problems)
            return read_contract(node)
    except SpecError as error:
        return error


@contextlib.contextmanager
def _node(path: Path, name: str, namespace: str) -> Iterator[Node]:
    """A node with the parameters of the file, in a context of its own.

    Raises:
        SpecError: rcl rejects the file.
    """
    with contextlib.ExitStack() as stack:
        try:
            context = stack.enter_context(isolated_context(["--ros-args", FLAG, str(path)]))
        except Exception as error:  # rclpy's exceptions differ between its versions
            problems = list(rejected_files([path], error))
            raise SpecError("the file cannot be read", problems) from error
        node = Node(
            name,
            namespace=namespace,
            context=context,
            allow_undeclared_parameters=True,
            enable_rosout=False,
            start_parameter_services=False,
        )
        declare_overrides(node)
        yield node
        node.destroy_node()
