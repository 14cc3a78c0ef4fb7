# SPDX-License-Identifier: Apache-2.0
"""The chunks of one episode beside the recorded actions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.evaluation.open_loop import AskingPlan, Chunks, EpisodeResult
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.evaluate.recorded_actions import RecordedActions
from gr00t_ros.interfaces.conversions import action_from_command
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.stamps import stamp_ns
from gr00t_ros.msg import ActionChunk

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One chunk.

    Args:
        number: Its number among all chunks of the policy.
        step: The step of the episode at which the node was asked.
        times_ns: When each step of a whole chunk is executed, ns, as the recording counts them.
        chunk: Its steps by action, float32 (up to horizon, D), in the policy's units.
        states: The newest state of its observation, float32 (D,) by state key.
        latency_s: How long the call took, as the node measured it, s.
    """

    number: int
    step: int
    times_ns: Sequence[int]
    chunk: dict[str, Rows]
    states: dict[str, Rows]
    latency_s: float


def chunk_in_policy_units(chunk: ActionChunk, contract: Contract) -> dict[str, Rows]:
    """The steps of a chunk, float32 (horizon, D) by action of the contract.

    Raises:
        SpecError: The chunk cannot be converted back.
    """
    outputs = {output.key: output for output in contract.action}
    return {
        values.name: _rows(
            outputs[values.name], np.asarray(values.values).reshape(-1, values.dimension)
        )
        for values in chunk.actions
    }


def chunk_times_ns(chunk: ActionChunk, steps: int, lead_steps: int) -> list[int]:
    """The times of the recorded actions that a whole chunk of so many steps is compared with."""
    t0_ns, step_ns = stamp_ns(chunk, 0), chunk.dt * 1e9
    return [t0_ns + round((step + lead_steps) * step_ns) for step in range(steps)]


def episode_result(
    answers: Sequence[Answer],
    recorded: RecordedActions,
    plan: AskingPlan,
    *,
    episode_index: int,
    name: str,
    max_steps: int,
) -> tuple[EpisodeResult, list[Answer]] | None:
    """Put the chunks of an episode beside the recorded actions.

    The comparison ends at the first executed step whose action is not known, as at the end of the
    recording. A chunk that is shorter than the policy's is held at its last step, as by the robot.

    Args:
        answers: In the order of their steps.
        recorded: Has read the actions at their times.
        plan: How the policy was asked.
        episode_index: The number of the episode.
        name: What a report calls it.
        max_steps: Steps that are compared, at most.

    Returns:
        The result and the answers in it; None where no step can be compared.
    """
    if not answers:
        return None
    whole = {key: np.stack([_whole(a.chunk[key], plan) for a in answers]) for key in plan.keys}
    ahead = {key: np.stack([_recorded(a, key, recorded) for a in answers]) for key in plan.keys}
    executed = {key: _joined(values[:, : plan.stride]) for key, values in whole.items()}
    demonstrated = {key: _joined(values[:, : plan.stride]) for key, values in ahead.items()}
    steps = min(max_steps, _known_steps(list(demonstrated.values())))
    if not steps:
        return None
    used = list(answers[: -(-steps // plan.stride)])
    for key, values in ahead.items():
        for number, answer in enumerate(answers):
            values[number, len(answer.chunk[key]) :] = np.nan  # the chunk has no such step
    result = EpisodeResult(
        episode_index=episode_index,
        name=name,
        starts=np.arange(len(used)) * plan.stride,
        recorded={key: rows[:steps] for key, rows in demonstrated.items()},
        predicted={key: rows[:steps] for key, rows in executed.items()},
        chunks={key: values[: len(used)] for key, values in whole.items()},
        recorded_chunks={key: values[: len(used)] for key, values in ahead.items()},
        states={key: np.stack([a.states[key] for a in used]) for key in used[0].states},
        latencies_s=np.array([answer.latency_s for answer in used]),
    )
    return result, used


def _rows(output: ActionOutput, commands: NDArray[np.float64]) -> Rows:
    try:
        return np.stack([action_from_command(output, command) for command in commands])
    except ConversionError as error:
        raise SpecError("the chunk cannot be compared", [str(error)]) from error


def _whole(chunk: Rows, plan: AskingPlan) -> Rows:
    """The chunk with as many steps as the policy's, float32 (horizon, D)."""
    missing = plan.horizon - len(chunk)
    return np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])


def _recorded(answer: Answer, key: str, recorded: RecordedActions) -> Rows:
    """The recorded actions at the times of a chunk, float32 (horizon, D); NaN where unknown."""
    unknown = np.full(answer.chunk[key].shape[1], np.nan, np.float32)
    known = [recorded.known.get(time_ns) for time_ns in answer.times_ns]
    rows = [unknown if action is None else action[key] for action in known]
    if any(len(row) != len(unknown) for row in rows):
        sizes = sorted({len(row) for row in rows} - {len(unknown)})
        raise SpecError(
            "the policy does not match the recording",
            [f"action.{key} has {len(unknown)} values, the recording has {sizes[0]}"],
        )
    return np.stack(rows)


def _joined(chunks: Chunks) -> Rows:
    return chunks.reshape(-1, chunks.shape[-1])


def _known_steps(demonstrated: Sequence[Rows]) -> int:
    """The number of steps before the first one without a recorded action."""
    is_unknown = np.any([np.isnan(rows).any(axis=1) for rows in demonstrated], axis=0)
    return int(np.argmax(is_unknown)) if is_unknown.any() else len(is_unknown)
