# SPDX-License-Identifier: Apache-2.0
"""A policy on bags, through the real policy node: what is compared, and what is left out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from demonstration_bags import Recorded, recording, write_plain_bag
from numpy.testing import assert_allclose
from policies_for_tests import HORIZON, EchoPolicy, TwistPolicy, parameters
from rclpy.logging import get_logger

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.evaluation.evaluation import PolicyEvaluation
from gr00t_policy_core.evaluation.open_loop import OpenLoopSettings
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.convert.robot import Robot, with_full_names
from gr00t_ros.evaluate.bag_evaluation import BagSettings
from gr00t_ros.evaluate.through_nodes import evaluate_through_nodes

COMMANDED = BagSettings(lead_steps=None, task="", clock_topic=False)


def robot(**changes: Any) -> Robot:
    given = parameters(**{"max_skew_s": 0.03, **changes})
    return Robot(with_full_names(parse_contract(given)), "", given, namespace="")


def evaluated(
    policy: BasePolicy,
    *bags: Path,
    settings: BagSettings = COMMANDED,
    steps: int = 200,
    probe_steps: int = 0,
    **changes: Any,
) -> PolicyEvaluation:
    return evaluate_through_nodes(
        "policy",
        policy,
        bags,
        robot(**changes),
        settings,
        OpenLoopSettings(steps),
        probe_steps=probe_steps,
    )


def bag_of(path: Path, messages: Sequence[Recorded]) -> Path:
    return write_plain_bag(path / "bag.mcap", sorted(messages, key=lambda m: m.time_s))


def late(messages: Sequence[Recorded], by_s: float) -> list[Recorded]:
    """The messages as if they had been received later."""
    return [Recorded(m.topic, m.message, m.time_s + by_s) for m in messages]


def test_the_node_is_asked_at_each_stride_and_its_chunks_are_compared(tmp_path: Path) -> None:
    policy = EchoPolicy()
    found = evaluated(policy, bag_of(tmp_path, recording(2.0)))
    (episode,) = found.episodes
    assert episode.starts.tolist() == [0, HORIZON, 2 * HORIZON]
    assert episode.steps == 40
    assert found.left_out == {}
    assert found.latency.calls == 3
    assert found.names == {"arm": ("shoulder", "elbow"), "gripper": ("finger",)}
    # The ramp of the policy begins at the state that it saw.
    assert_allclose(episode.predicted["arm"][episode.starts], episode.states["arm"], atol=1e-6)
    assert policy.resets == 1
    assert policy.observations[0]["language"] == {"task": [["pick up the apple"]]}


def test_each_chunk_is_asked_for_by_itself_also_with_real_time_chunking(tmp_path: Path) -> None:
    policy = EchoPolicy()
    policy.capabilities = ("rtc",)
    found = evaluated(policy, bag_of(tmp_path, recording(2.0)), blend="rtc")
    assert found.latency.calls == len(policy.options) == 3
    assert not any("rtc" in (options or {}) for options in policy.options)


def test_nodes_of_the_process_log_all_again_afterwards(tmp_path: Path) -> None:
    """rclpy keeps the level of a logger by its name, for the whole process."""
    before = get_logger("policy_node").get_effective_level()
    evaluated(EchoPolicy(), bag_of(tmp_path, recording(1.0)))
    assert get_logger("policy_node").get_effective_level() == before


def test_units_of_the_policy_are_compared_and_a_wrong_sign_is_named(tmp_path: Path) -> None:
    """The arm's state and action are in degrees for the policy, and it answers the opposite."""

    class Opposite(EchoPolicy):
        def _get_action(self, observation: Any, options: Any = None) -> Any:
            action, info = super()._get_action(observation, options)
            return {**action, "arm": -action["arm"]}, info

    degrees = {"state__arm__scale": 57.29578, "action__arm__scale": 0.01745329}
    found = evaluated(Opposite(), bag_of(tmp_path, recording(4.0)), **degrees)
    assert abs(found.episodes[0].recorded["arm"]).max() > 10.0
    assert [(f.fault.value, f.key) for f in found.findings] == [("sign", "arm")]


def test_a_policy_slower_than_the_longest_age_misses_nothing(tmp_path: Path) -> None:
    """The clock stands still while it computes: nothing becomes stale, no sample is skipped."""

    class Slow(EchoPolicy):
        def _get_action(self, observation: Any, options: Any = None) -> Any:
            threading.Event().wait(0.4)
            return super()._get_action(observation, options)

    slow = evaluated(Slow(), bag_of(tmp_path, recording(2.0)), max_age_s=0.1)
    assert slow.left_out == {}
    assert slow.episodes[0].starts.tolist() == [0, HORIZON, 2 * HORIZON]
    assert slow.latency.p50_s >= 0.4


def test_a_camera_that_starts_late_and_pauses_is_counted_by_reason(tmp_path: Path) -> None:
    messages = recording(6.0, camera_from_s=0.5)
    messages = [m for m in messages if "image" not in m.topic or not 2.5 < m.time_s < 3.5]
    found = evaluated(EchoPolicy(), bag_of(tmp_path, messages))
    assert [result.name for result in found.episodes] == ["bag.mcap", "bag.mcap, part 2"]
    nothing_yet = "video.front: nothing received on /front/image_raw yet"
    assert 9 <= found.left_out[nothing_yet] <= 11
    assert 15 <= sum(n for reason, n in found.left_out.items() if reason != nothing_yet) <= 22
    assert all("video.front" in reason for reason in found.left_out)


def test_a_clock_that_was_set_back_ends_the_episode(tmp_path: Path) -> None:
    first, second = recording(2.0), recording(2.0)
    bag = write_plain_bag(tmp_path / "bag.mcap", [*late(first, 0.0), *second])
    found = evaluated(EchoPolicy(), bag)
    assert [result.steps for result in found.episodes] == [40, 40]
    assert any("the clock was set back by" in note for note in found.notes)


def test_a_history_that_is_not_recorded_yet_is_waited_for(tmp_path: Path) -> None:
    policy = EchoPolicy(video_delta_indices=(-2, 0))
    found = evaluated(policy, bag_of(tmp_path, recording(2.0)))
    assert found.left_out == {"video.front: no message at the required time": 2}
    assert found.episodes[0].steps == 38
    assert policy.observations[0]["video"]["front"].shape[1] == 2


def test_a_measured_state_ahead_is_the_action_where_the_robot_says_so(tmp_path: Path) -> None:
    settings = BagSettings(lead_steps=3, task="", clock_topic=False)
    found = evaluated(EchoPolicy(), bag_of(tmp_path, recording(2.0)), settings=settings)
    (episode,) = found.episodes
    assert episode.steps == 37
    # What is recorded at a start is what the policy sees three steps later.
    chunk = episode.recorded_chunks["arm"]
    assert_allclose(chunk[0, HORIZON - 3], episode.states["arm"][1], atol=1e-6)


def test_only_so_many_steps_are_compared_and_the_bag_is_left_after_them(tmp_path: Path) -> None:
    policy = EchoPolicy()
    found = evaluated(policy, bag_of(tmp_path, recording(4.0)), steps=20)
    assert [result.steps for result in found.episodes] == [20]
    assert len(policy.observations) == 2


def test_swapped_inputs_are_looked_for_with_what_the_node_had_sent(tmp_path: Path) -> None:
    policy = EchoPolicy()
    bag = bag_of(tmp_path, recording(2.0))
    found = evaluated(policy, bag, probe_steps=2)
    assert found.tried_swaps
    # Three through the node; then two steps as they were, and with the two joints exchanged.
    assert len(policy.observations) == 3 + 2 + 2


def test_a_policy_that_fails_ends_the_evaluation_with_its_reason(tmp_path: Path) -> None:
    class Failing(EchoPolicy):
        def _get_action(self, observation: Any, options: Any = None) -> Any:
            if len(self.observations) == 1:
                raise PolicyError("the GPU is on fire")
            return super()._get_action(observation, options)

    with pytest.raises(PolicyError, match="the GPU is on fire"):
        evaluated(Failing(), bag_of(tmp_path, recording(2.0)))


def test_a_bag_without_a_topic_is_named_and_the_others_are_evaluated(tmp_path: Path) -> None:
    whole = write_plain_bag(tmp_path / "whole.mcap", recording(1.5))
    lacking = [m for m in recording(1.5) if m.topic != "/commands"]
    without = write_plain_bag(tmp_path / "without.mcap", lacking)
    found = evaluated(EchoPolicy(), without, whole)
    assert [result.name for result in found.episodes] == ["whole.mcap"]
    reason = f"{without}: not evaluated: action.arm, action.gripper: the bag has no topic /commands"
    assert any(note.startswith(reason) for note in found.notes)
    with pytest.raises(PolicyError, match=r"no bag can be evaluated: .*the bag has no topic"):
        evaluated(EchoPolicy(), without)


def test_a_policy_of_another_robot_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    policy = TwistPolicy()
    with pytest.raises(SpecError, match=r"action\.arm has 2 values, the policy"):
        evaluated(policy, bag_of(tmp_path, recording(1.5)))
    assert policy.observations == []
