# SPDX-License-Identifier: Apache-2.0
"""The verdict on a run in words, worst first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gr00t_ros.diagnose import motion_symptoms as motion
from gr00t_ros.diagnose import system_symptoms as system
from gr00t_ros.diagnose.symptom import Measurements, Symptom

CHECKS: tuple[Callable[[Measurements], Iterator[Symptom]], ...] = (
    motion.errors,
    motion.pauses,
    motion.late_chunks,
    motion.refused_chunks,
    motion.shaking,
    motion.late_robot,
    system.old_observations,
    system.missing_messages,
    system.control_loop,
    system.policy_failures,
    system.clock_jumps,
    system.notes,
)


def judge(measured: Measurements) -> list[Symptom]:
    """Say what is wrong with a run, worst first."""
    symptoms = [symptom for check in CHECKS for symptom in check(measured)]
    return sorted(symptoms, key=lambda symptom: (-symptom.level, -symptom.size))
