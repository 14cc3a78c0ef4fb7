# SPDX-License-Identifier: Apache-2.0
"""How much two names say the same: of keys, topics, joints and controllers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Words that nearly every name has, and that tell nothing apart.
COMMON = frozenset(
    (
        *("joint", "joints", "position", "positions", "state", "states", "values", "link"),
        *("command", "commands", "controller", "controllers", "trajectory", "follower", "robot"),
        *("image", "images", "raw", "color", "camera", "cam", "rgb", "rect", "compressed", "view"),
    )
)
SIDES = ("left", "right")
# Words of keys that are not joint positions, however many values they have.
NO_JOINTS = frozenset(
    (
        *("eef", "effector", "pose", "pos", "rotation", "rot", "quat", "quaternion", "rpy"),
        *("gravity", "imu", "velocity", "qvel", "effort", "torque", "wrench", "force"),
        *("base", "height", "token", "mode", "sin", "cos"),
    )
)
# Words for the same part of a robot.
SYNONYMS = {
    "finger": "gripper",
    "knuckle": "gripper",
    "ego": "head",
    "exterior": "external",
    "navigate": "base",
    "cmd": "base",
    "vel": "base",
}


def words(name: str) -> frozenset[str]:
    """Return the telling words of a name, without numbers."""
    found = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return frozenset(SYNONYMS.get(word, word) for word in found) - COMMON


def likeness(name: str, other: str) -> int:
    """Return the number of words that two names share."""
    return len(words(name) & words(other))


def contradict(name: str, others: Iterable[str]) -> bool:
    """Whether a name speaks of one side of the robot, and the others of the opposite one."""
    of_name, of_others = words(name), frozenset[str]().union(*map(words, others))
    return any(
        side in of_name and side not in of_others and opposite in of_others
        for side, opposite in (SIDES, SIDES[::-1])
    )


def speaks_of_joints(key: str) -> bool:
    """Whether the values of a key may be joint positions, by its name."""
    return not words(key) & NO_JOINTS


def the_most_like(name: str, others: Iterable[str]) -> str:
    """Return the only name that shares the most words; empty if there is none, or several."""
    scores = {other: likeness(name, other) for other in others}
    best = max(scores.values(), default=0)
    found = [other for other, score in scores.items() if score == best]
    return found[0] if best and len(found) == 1 else ""


def pairs(names: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Pair names by the words that they share; the last two are a pair whatever they are called."""
    left, free, found = list(names), list(others), dict[str, str]()
    for name in list(left):
        other = the_most_like(name, free)
        if other and the_most_like(other, left) == name:
            found[name] = other
            left.remove(name)
            free.remove(other)
    if len(left) == len(free) == 1 and not contradict(left[0], free):
        found[left[0]] = free[0]
    return found


def named_for(name: str, things: Iterable[str]) -> list[str]:
    """Return the things that have every word of a name that any of them has; empty if none has."""
    of_things: Mapping[str, frozenset[str]] = {thing: words(thing) for thing in things}
    told = words(name) & frozenset[str]().union(*of_things.values())
    return [thing for thing, own in of_things.items() if told and told <= own]
