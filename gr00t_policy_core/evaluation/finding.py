# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a policy or its data, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """The mistakes that are most often behind a bad open-loop evaluation."""

    FLAT = "flat"
    SHIFTED = "shifted"
    SIGN = "sign"
    FACTOR = "factor"
    RELATIVE_AS_ABSOLUTE = "relative read as absolute"
    STATE_ADDED_TWICE = "state added twice"
    SWAPPED_JOINTS = "swapped joints"
    SWAPPED_STATES = "swapped states"
    SWAPPED_CAMERAS = "swapped cameras"
    FAR_FROM_STATE = "far from the state"


REMEDIES = {
    Fault.FLAT: "The policy has not learned this key: check that its values are not constant or "
    "masked in the training data, that its normalisation statistics are those of this dataset, and "
    "train longer.",
    Fault.SHIFTED: "Compare the action's first step and the time stamps in training and here: the "
    "recorded action may be the state of another step, or cameras and joints were recorded with a "
    "delay.",
    Fault.SIGN: "One side counts the joint the other way round: set a negative `scale`, or correct "
    "the recording.",
    Fault.FACTOR: "One side uses other units: set `scale`, or convert the dataset.",
    Fault.RELATIVE_AS_ABSOLUTE: "The actions are relative to the state: add the state of the "
    "observation, or declare the key RELATIVE.",
    Fault.STATE_ADDED_TWICE: "The state was added to actions that are absolute already: declare "
    "the key ABSOLUTE.",
    Fault.SWAPPED_JOINTS: "The joints have another order in the training data: compare "
    "meta/modality.json and the order of `joints`.",
    Fault.SWAPPED_STATES: "The states have another order than in the training data: compare "
    "meta/modality.json and the order of `joints`.",
    Fault.SWAPPED_CAMERAS: "The cameras have each other's names: compare the video keys of "
    "meta/modality.json with the pictures.",
    Fault.FAR_FROM_STATE: "The first action of a chunk must be close to where the robot is: check "
    "units, offsets, and whether state and action describe the same joints.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One mistake that explains the errors of a policy.

    Args:
        fault: What it is.
        key: The action key, or the cameras.
        joints: The names of the values that it concerns; empty for cameras.
        text: What was found, in a sentence with its numbers.
        before: Mean squared error of these values divided by the variance of the recorded ones.
        after: The same once the mistake is undone; NaN where it cannot be undone.
    """

    fault: Fault
    key: str
    joints: tuple[str, ...]
    text: str
    before: float
    after: float

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.fault]
