# SPDX-License-Identifier: Apache-2.0
"""The parameter table on a node: declared with descriptions and ranges, read back as a contract."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.parameter_checks import unknown_names
from gr00t_ros.contract.parameters import default_values, parameters_for


def declare_overrides(node: Node) -> None:
    """Declare every override that the user gave to a node that was just made.

    rclpy's own way, `automatically_declare_parameters_from_overrides`, raises at an empty list.
    An empty list has no type in ROS, and its parameter has no value.
    """
    descriptor = ParameterDescriptor(dynamic_typing=True)
    for name, override in node._parameter_overrides.items():
        if not node.has_parameter(name):
            node.declare_parameter(name, override.value, descriptor)


def declare_parameters(node: Node) -> None:
    """Declare every parameter of the table, and of each key that the user's parameters name.

    The node must have been made with `allow_undeclared_parameters`, so that a key that was
    forgotten can be set later on. A value outside its range is kept here and rejected by
    `configure`, together with everything else that is wrong.
    """
    given = _values(node)
    for parameter in parameters_for(given):
        if parameter.name not in given:
            # An override that is missing was deleted in the meantime.
            node.declare_parameter(
                parameter.name, parameter.default, descriptor_of(parameter), ignore_override=True
            )
            continue
        try:
            node.set_descriptor(parameter.name, descriptor_of(parameter))
        except InvalidParameterValueException:
            node.set_descriptor(parameter.name, descriptor_of(parameter, with_range=False))
    for name in unknown_names(given):
        # With dynamic typing, `ros2 param delete` can remove a mistyped parameter.
        node.set_descriptor(
            name, ParameterDescriptor(description="no such parameter", dynamic_typing=True)
        )


def read_contract(node: Node) -> Contract:
    """Read the contract from the node's parameters, and declare those of new keys on the way.

    Raises:
        SpecError: The parameters are wrong; one sentence for each problem.
    """
    declare_parameters(node)

    def resolve(topic: str) -> str:
        try:
            return node.resolve_topic_name(topic)
        except Exception as error:  # rclpy's exceptions differ between its versions
            raise ValueError(f"{topic!r} is not a valid topic name: {error}") from error

    return parse_contract(given_values(node), resolve=resolve)


def given_values(node: Node) -> dict[str, Any]:
    """Return the parameters that the user gave; a parameter at its default is left out.

    The user gave a parameter if a file, the command line or the node's constructor gave its current
    value, or if it was set to a value other than its default later.
    """
    values = _values(node)
    defaults = default_values(values)
    overrides = node._parameter_overrides
    return {
        name: value
        for name, value in values.items()
        if name not in defaults
        or value != defaults[name]
        or (name in overrides and value == plain(overrides[name]))
    }


def _values(node: Node) -> dict[str, Any]:
    parameters = node.get_parameters_by_prefix("").items()
    return {name: plain(parameter) for name, parameter in parameters}


def plain(parameter: RosParameter) -> Any:
    """Return the value of a parameter, an array as a list.

    An empty array has no value in ROS, or comes as an empty byte array.
    """
    value = parameter.value
    if value is None:
        return []
    return value if isinstance(value, (bool, int, float, str)) else list(value)


def descriptor_of(parameter: Parameter, *, with_range: bool = True) -> ParameterDescriptor:
    """Describe a parameter as ROS does: its purpose, choices, condition and range."""
    # Dynamic typing lets a user write 1 for 1.0; the contract checks the types.
    descriptor = ParameterDescriptor(description=parameter.description, dynamic_typing=True)
    constraints = []
    if parameter.choices:
        choices = ", ".join(choice for choice in parameter.choices if choice)
        constraints.append(f"one of: {choices}")
    if parameter.only_with is not None:
        constraints.append(f"only with {parameter.only_with.text}")
    descriptor.additional_constraints = "; ".join(constraints)
    if parameter.minimum is None or parameter.maximum is None or not with_range:
        return descriptor
    # A required parameter is declared with its empty default, which lies outside the range.
    low = 0.0 if parameter.required else parameter.minimum
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(parameter.maximum))
        ]
    else:
        descriptor.integer_range = [
            IntegerRange(from_value=int(low), to_value=int(parameter.maximum), step=1)
        ]
    return descriptor
