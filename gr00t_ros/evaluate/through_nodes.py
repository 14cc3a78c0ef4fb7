# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on bags, through the policy node."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.evaluation.evaluation import (
    PolicyEvaluation,
    SwapProbe,
    judge,
    recorded_ahead,
)
from gr00t_policy_core.evaluation.open_loop import AskingPlan, EpisodeResult, OpenLoopSettings
from gr00t_policy_core.evaluation.swapped_inputs import ProbeStep
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.described import entries_to_describe
from gr00t_ros.convert.filters import counted
from gr00t_ros.convert.robot import Robot
from gr00t_ros.convert.step_layout import action_names, state_names
from gr00t_ros.evaluate.asked_policy import AskedPolicy, KeptObservations
from gr00t_ros.evaluate.bag_evaluation import BagAnswers, BagEvaluation, BagSettings
from gr00t_ros.policy.inference_session import compatibility_warnings, require_compatible
from gr00t_ros.policy.observation_builder import NotReadyError

logger = logging.getLogger(__name__)


def evaluate_through_nodes(
    name: str,
    policy: BasePolicy,
    bags: Sequence[Path],
    robot: Robot,
    settings: BagSettings,
    open_loop: OpenLoopSettings,
    *,
    probe_steps: int,
) -> PolicyEvaluation:
    """Evaluate a policy through the policy node.

    Args:
        name: What the report calls it.
        policy: The policy.
        bags: The recorded episodes.
        robot: The robot, as its YAML file describes it.
        settings: How the bags are read.
        open_loop: How far and how often the policy is asked.
        probe_steps: Steps at which inputs are exchanged; 0 for none.

    Raises:
        PolicyError: The policy does not fit the robot or fails, or no bag can be evaluated.
    """
    configs = _compatible(robot.contract, policy)
    plan = _plan(robot.contract, configs["action"], open_loop)
    asked, kept = AskedPolicy(policy), KeptObservations(max(1, probe_steps))
    done = BagAnswers()
    for path in bags:
        first_index = len(done.episodes)
        try:
            evaluation = BagEvaluation(
                Bag(path), robot, asked, plan, settings, kept=kept, first_index=first_index
            )
        except BagError as error:
            done.notes.append(f"{path}: not evaluated: {error}")
            continue
        of_bag = evaluation.run()
        done.notes += [f"{path}: {note}" for note in of_bag.notes]
        if not of_bag.episodes:
            done.notes.append(f"{path}: nothing to compare: {_main_reason(of_bag)}")
        done.episodes += of_bag.episodes
        done.by_number |= of_bag.by_number
        done.left_out += of_bag.left_out
        logger.info("%s: %s, %d steps", name, path.name, of_bag.steps)
    if not done.episodes:
        raise PolicyError(f"no bag can be evaluated: {'; '.join(done.notes)}")
    warnings = compatibility_warnings(robot.contract, configs, policy.get_capabilities())
    return judge(
        name,
        done.episodes,
        _names(robot.contract, done.episodes[0]),
        plan,
        _swaps(asked, done, kept, robot.contract, probe_steps),
        left_out=counted(done.left_out),
        notes=[*warnings, *done.notes],
    )


def _compatible(contract: Contract, policy: BasePolicy) -> dict[str, ModalityConfig]:
    waiting = list(entries_to_describe(contract))
    if waiting:
        raise SpecError(
            "cannot evaluate through the nodes",
            [f"{name} needs a robot description, which bags are not read for" for name in waiting],
        )
    try:
        return require_compatible(contract, policy)
    except NotReadyError as error:
        raise PolicyError(str(error)) from error


def _plan(contract: Contract, action: ModalityConfig, settings: OpenLoopSettings) -> AskingPlan:
    """The plan of a policy whose actions have the names of the contract, as in a dataset."""
    keys = [output.key for output in contract.action]
    return AskingPlan.of({"action": ModalityConfig(action.delta_indices, keys)}, settings)


def _names(contract: Contract, first: EpisodeResult) -> dict[str, tuple[str, ...]]:
    """The names of the values of each compared action."""
    sizes = {key: rows.shape[1] for key, rows in first.predicted.items()}
    return {o.key: action_names(o, sizes[o.key]) for o in contract.action if o.key in sizes}


def _main_reason(answers: BagAnswers) -> str:
    most = answers.left_out.most_common(1)
    return most[0][0] if most else "it has no step"


def _swaps(
    policy: AskedPolicy,
    done: BagAnswers,
    kept: KeptObservations,
    contract: Contract,
    probe_steps: int,
) -> SwapProbe | None:
    is_as_answered = all(o.keys == (o.key,) and not o.select for o in contract.action)
    if not probe_steps or policy.is_replay or not is_as_answered:
        return None
    numbers = [number for number in kept.by_number if number in done.by_number]
    count = min(probe_steps, len(numbers))
    chosen = [numbers[i] for i in np.linspace(0, len(numbers) - 1, count).round().astype(int)]
    steps = [
        ProbeStep(kept.by_number[number], recorded_ahead(*done.by_number[number]))
        for number in chosen
    ]
    states = done.episodes[0].states
    names = {s.key: state_names(s, states[s.key].shape[1]) for s in contract.state}
    return SwapProbe(policy.policy, steps, names)
