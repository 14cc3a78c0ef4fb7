# SPDX-License-Identifier: Apache-2.0
"""Filters: which steps become episodes, and what each filter counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest

from gr00t_ros.convert.filters import (
    BLURRED,
    IDLE,
    JUMP,
    POLICY,
    SHORT,
    Recorded,
    chosen_steps,
    counted,
    sharpness,
)
from gr00t_ros.convert.settings import Filters

FPS = 10.0


def recorded(positions: Any, sharp: Any = None, driven: Any = ()) -> Recorded:
    """A recording; a person drives in the steps `driven`."""
    values = np.asarray(positions, dtype=np.float64).reshape(len(positions), -1)
    cameras = {} if sharp is None else {"front": np.asarray(sharp, dtype=np.float64)}
    corrected = np.isin(np.arange(len(values)), list(driven))
    return Recorded(
        measured=values, positions=values, sharpness=cameras, corrected=corrected, fps=FPS
    )


def chosen(given: Recorded, grain: int = 1, **filters: Any) -> tuple[list[range], dict[str, int]]:
    dropped: Counter[str] = Counter()
    settings = Filters(**{"min_length_s": 0.3, **filters})
    parts = chosen_steps(given, settings, grain=grain, dropped=dropped)
    steps = sum(map(len, parts)) + sum(dropped.values())
    assert steps - dropped[JUMP] == len(given.positions)  # every step is somewhere
    return parts, counted(dropped)


MOVING = np.linspace(0.0, 1.0, 20)


def test_without_filters_everything_is_kept() -> None:
    assert chosen(recorded(MOVING)) == ([range(20)], {})


def test_idle_heads_and_tails_are_left_out_and_a_pause_within_is_not() -> None:
    drift = 0.001 * np.sin(np.arange(10))
    positions = np.concatenate([drift, MOVING, np.full(10, 1.0), 1 + MOVING, 2 + drift])
    parts, dropped = chosen(recorded(positions), idle_motion=0.005)
    assert parts == [range(10, 60)]
    assert dropped == {IDLE: 20}


def test_a_recording_without_motion_is_idle() -> None:
    parts, dropped = chosen(recorded(np.zeros(30)), idle_motion=0.005)
    assert (parts, dropped) == ([], {IDLE: 30})


def test_the_last_motion_may_be_that_of_one_joint_alone() -> None:
    arm = np.concatenate([MOVING, np.full(10, 1.0)])
    gripper = np.concatenate([np.zeros(25), np.full(5, 0.02)])
    parts, _ = chosen(recorded(np.stack([arm, gripper], axis=1)), idle_motion=0.005)
    assert parts == [range(26)]


def test_a_jump_splits_the_recording() -> None:
    positions = np.concatenate([MOVING, 5 + MOVING])
    parts, dropped = chosen(recorded(positions), jump_speed=10.0)
    assert parts == [range(20), range(20, 40)]
    assert dropped == {JUMP: 1}
    assert chosen(recorded(positions), jump_speed=100.0) == ([range(40)], {})


def test_blurred_steps_split_the_recording() -> None:
    sharp = np.full(20, 100.0)
    sharp[8:10] = 5.0
    parts, dropped = chosen(recorded(MOVING, sharp), blur_share=0.3)
    assert parts == [range(8), range(10, 20)]
    assert dropped == {BLURRED: 2}


def test_what_is_too_short_is_left_out() -> None:
    sharp = np.full(20, 100.0)
    sharp[[2, 10]] = 5.0
    parts, dropped = chosen(recorded(MOVING, sharp), blur_share=0.3, min_length_s=0.8)
    assert parts == [range(11, 20)]
    assert dropped == {SHORT: 9, BLURRED: 2}


def test_an_episode_begins_where_its_videos_can_be_cut() -> None:
    sharp = np.full(20, 100.0)
    sharp[8] = 5.0
    parts, dropped = chosen(recorded(MOVING, sharp), grain=2, blur_share=0.3)
    assert parts == [range(8), range(10, 20)]
    assert dropped == {BLURRED: 1, SHORT: 1}


def test_each_correction_is_an_episode() -> None:
    given = recorded(MOVING, driven=[*range(4, 9), *range(12, 18)])
    parts, dropped = chosen(given, corrections_only=True)
    assert parts == [range(4, 9), range(12, 18)]
    assert dropped == {POLICY: 9}
    assert chosen(given) == ([range(20)], {})


def test_a_correction_may_begin_before_the_person_took_over_but_not_in_the_one_before() -> None:
    given = recorded(MOVING, driven=[*range(2, 7), *range(9, 14)])
    parts, dropped = chosen(given, corrections_only=True, lead_in_s=0.5)
    assert parts == [range(7), range(7, 14)]
    assert dropped == {POLICY: 6}


def test_a_correction_is_as_long_as_the_person_drove() -> None:
    given = recorded(MOVING, driven=[*range(8, 10), *range(15, 20)])
    parts, dropped = chosen(given, corrections_only=True, lead_in_s=0.3)
    assert parts == [range(12, 20)]
    assert dropped == {POLICY: 7, SHORT: 5}


def test_the_lead_in_of_a_correction_is_none_where_a_filter_cuts_it_off() -> None:
    sharp = np.full(20, 100.0)
    sharp[7] = 5.0
    given = recorded(MOVING, sharp, driven=range(8, 14))
    parts, dropped = chosen(given, corrections_only=True, lead_in_s=0.4, blur_share=0.3)
    assert parts == [range(8, 14)]
    assert dropped == {POLICY: 10, SHORT: 3, BLURRED: 1}


def test_a_person_who_only_waits_gives_no_episode() -> None:
    positions = np.concatenate([MOVING, np.full(10, 1.0)])
    given = recorded(positions, driven=range(20, 30))
    parts, dropped = chosen(given, corrections_only=True, lead_in_s=1.0, idle_motion=0.005)
    assert parts == []
    assert sum(dropped.values()) == 30


def test_nothing_is_left_of_an_attempt_without_corrections() -> None:
    assert chosen(recorded(MOVING), corrections_only=True) == ([], {POLICY: 20})


@pytest.mark.parametrize("size", [(48, 64), (480, 640)])
def test_a_blurred_image_is_less_sharp(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    image = cv2.resize(image[::8, ::8], size[::-1], interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(image, (0, 0), size[0] / 40)
    assert sharpness(blurred) < 0.3 * sharpness(image)
