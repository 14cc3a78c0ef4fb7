# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy eval --through-nodes`: the policies of the command line, on bags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack

from gr00t_policy_core.cli.bag_flags import lead_steps
from gr00t_policy_core.cli.common import refuse_without_effect
from gr00t_policy_core.cli.evaluate import compared
from gr00t_policy_core.cli.policy_sources import (
    LOCAL_FLAGS,
    SERVER_FLAGS,
    names_a_policy,
    open_policy,
    policy_sources,
    server_arguments,
    wait_until_ready,
)
from gr00t_policy_core.evaluation.evaluation import PolicyEvaluation
from gr00t_policy_core.evaluation.open_loop import OpenLoopSettings
from gr00t_policy_core.evaluation.report import Report
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.bags.reader import find_bags
from gr00t_ros.cli.asked_server import asked_server
from gr00t_ros.cli.recorded_robot import robot_of
from gr00t_ros.contract.contract import Contract
from gr00t_ros.evaluate.bag_evaluation import BagSettings
from gr00t_ros.evaluate.through_nodes import evaluate_through_nodes
from gr00t_ros.policy.policy_backend import close_policy, make_policy

OF_FILE = "as configured"
FLAGS_OF_A_POLICY = (*SERVER_FLAGS, *LOCAL_FLAGS)


def evaluate(args: argparse.Namespace) -> Report:
    """Evaluate the policies of a command line, or the one of the robot's YAML file.

    Args:
        args: The arguments of `eval`.

    Raises:
        PolicyError: A policy does not fit or fails, or no bag can be evaluated.
    """
    bags = find_bags(args.through_nodes)
    robot = robot_of(args, bags)
    settings = BagSettings(
        lead_steps=lead_steps(args, robot.contract.record.action_lead_steps),
        task=args.task,
        clock_topic=args.use_clock_topic,
    )
    open_loop = OpenLoopSettings(args.steps, args.execution_horizon, args.action_keys)
    policies: list[PolicyEvaluation] = []
    with ExitStack() as stack:
        for name, policy in _policies(args, robot.contract, stack):
            policies.append(
                evaluate_through_nodes(
                    name, policy, bags, robot, settings, open_loop, probe_steps=args.probe_steps
                )
            )
    return compared(", ".join(map(str, args.through_nodes)), policies)


def _policies(
    args: argparse.Namespace, contract: Contract, stack: ExitStack
) -> Iterator[tuple[str, BasePolicy]]:
    """The policies by name; a server gets images as the YAML file says."""
    if args.config is not None and not names_a_policy(args):
        refuse_without_effect(args, FLAGS_OF_A_POLICY, "the YAML file names the policy")
        policy = make_policy(contract.policy)
        stack.callback(close_policy, policy)
        wait_until_ready(policy)
        yield OF_FILE, policy
        return
    for source in policy_sources(args):
        server = server_arguments(source, args)
        if server is None:
            yield source.name, open_policy(source, args, stack)
            continue
        policy = make_policy(asked_server(contract.policy, server))
        stack.callback(close_policy, policy)
        wait_until_ready(policy)
        yield source.name, policy
