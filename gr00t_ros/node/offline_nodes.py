# SPDX-License-Identifier: Apache-2.0
"""Reads a parameter file as the two nodes do, without joining a ROS graph."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameter_files import FLAG, unmatched
from gr00t_ros.node.node_parameters import declare_overrides, read_contract
from gr00t_ros.node.startup import file_problems, rejected_files

NODE_NAMES = ("policy_node", "control_node")
# Nodes that nobody discovers: since Iron, and the nearest that Humble has.
NO_DISCOVERY = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_LOCALHOST_ONLY": "1"}


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
    context = Context()
    with _environment(NO_DISCOVERY):
        try:
            rclpy.init(
                args=["--ros-args", FLAG, str(path)],
                context=context,
                signal_handler_options=SignalHandlerOptions.NO,
            )
        except Exception as error:  # rclpy's exceptions differ between its versions
            problems = list(rejected_files([path], error))
            raise SpecError("the file cannot be read", problems) from error
        try:
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
        finally:
            context.try_shutdown()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
