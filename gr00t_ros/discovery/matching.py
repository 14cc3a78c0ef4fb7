# SPDX-License-Identifier: Apache-2.0
"""Matches the keys of a policy with the topics of a robot, by name and dimension. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain

from gr00t_ros.discovery.names import (
    contradict,
    named_for,
    pairs,
    speaks_of_joints,
    the_most_like,
    words,
)
from gr00t_ros.discovery.robot_graph import CommandTopic, PolicyNeeds, RobotGraph

PLANAR_TWIST = ("linear.x", "linear.y", "angular.z")
TWISTS = ("twist", "twist_stamped")
NAMED_JOINTS = ("joint_trajectory", "joint_state")
BASE_WORDS = frozenset({"base"})  # with its synonyms, see `names`


@dataclass(frozen=True, slots=True)
class Entry:
    """One camera, state or action of the file: the parameters that were found for it.

    Args:
        key: The policy's key.
        parameters: Of its block; empty where nothing was found.
        why: Why nothing was found, and what there is instead; empty for a match.
        alternatives: What else fits as well.
    """

    key: str
    parameters: Mapping[str, object]
    why: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """The entries of a robot's file, in the policy's order."""

    video: tuple[Entry, ...]
    state: tuple[Entry, ...]
    action: tuple[Entry, ...]

    @property
    def unmatched(self) -> list[str]:
        """The names of the entries for which nothing was found."""
        return [
            f"{modality}.{entry.key}"
            for modality, entries in (
                ("video", self.video),
                ("state", self.state),
                ("action", self.action),
            )
            for entry in entries
            if not entry.parameters
        ]


def match(graph: RobotGraph, needs: PolicyNeeds) -> Proposal:
    """Propose a topic and the joints for each key that has only one fitting counterpart."""
    measured = _joints_by_key(graph, needs.state)
    others = {key: size for key, size in needs.action.items() if key not in measured}
    same = {key: joints for key, joints in measured.items() if key in needs.action}
    commanded = {**same, **_joints_by_key(graph, others, taken=chain.from_iterable(same.values()))}
    known = set(chain.from_iterable(measured.values()))
    return Proposal(
        video=tuple(_cameras(graph, needs.video)),
        state=tuple(
            _state(graph, key, size, measured.get(key)) for key, size in needs.state.items()
        ),
        action=tuple(
            _without_sharing(
                _action(graph, key, size, commanded.get(key), known)
                for key, size in needs.action.items()
            )
        ),
    )


def _cameras(graph: RobotGraph, keys: tuple[str, ...]) -> Iterator[Entry]:
    found = pairs(keys, graph.cameras)
    rest = [topic for topic in graph.cameras if topic not in found.values()]
    for key in keys:
        if key in found:
            yield Entry(key, {"topic": found[key]})
        else:
            yield Entry(key, {}, f"no camera is named like it; {_there_are('camera topics', rest)}")


def _joints_by_key(
    graph: RobotGraph, sizes: Mapping[str, int | None], *, taken: Iterable[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Find the joints of each key: those of a controller, those named like it, the rest.

    Args:
        graph: Measures the joints.
        sizes: The values of each key; those whose name speaks of something else are left out.
        taken: Joints that belong to other keys already.
    """
    reserved = set(taken)
    sizes = {key: size for key, size in sizes.items() if speaks_of_joints(key)}
    groups = {command.topic: command.joints for command in graph.commands if command.joints}
    named = filter(None, chain.from_iterable(graph.joint_states.values()))
    measured = list(dict.fromkeys(named))
    found: dict[str, tuple[str, ...]] = {}

    def free() -> list[str]:
        used = reserved.union(*found.values())
        return [joint for joint in measured if joint not in used]

    for key, size in sizes.items():
        fitting = [
            topic
            for topic, group in groups.items()
            if len(group) == (size or len(group)) and not contradict(key, (topic, *group))
        ]
        topic = the_most_like(key, fitting) or _only(fitting if size else [])
        if topic and not set(groups[topic]).difference(free()):
            found[key] = groups[topic]
    for choose in (named_for, _all):
        for key, size in sizes.items():
            joints = choose(key, free())
            if key not in found and size == len(joints) and not contradict(key, joints):
                found[key] = tuple(joints)
    return found


def _all(_: str, joints: list[str]) -> list[str]:
    return joints


def _state(graph: RobotGraph, key: str, size: int | None, joints: tuple[str, ...] | None) -> Entry:
    topics = [t for t, names in graph.joint_states.items() if joints and set(joints) <= set(names)]
    if joints and topics:
        topic = topics[0]
        return Entry(key, {"type": "joint_state", "topic": topic, "joints": list(joints)})
    if "gravity" in words(key) and len(graph.imus) == 1:
        parts = ["projected_gravity"]
        return Entry(key, {"type": "imu", "topic": graph.imus[0], "parts": parts})
    joint_names = sorted(set(chain.from_iterable(graph.joint_states.values())))
    return Entry(key, {}, f"{_values(size)}; {_there_are('measured joints', joint_names)}")


def _action(
    graph: RobotGraph,
    key: str,
    size: int | None,
    joints: tuple[str, ...] | None,
    measured: Set[str],
) -> Entry:
    """Propose the command of an action; only of joints whose positions a state measures."""
    if joints and measured.issuperset(joints):
        command, others = _command_of(graph, key, joints)
        if command is not None:
            parameters = {"type": command.type, "topic": command.topic, "joints": list(joints)}
            return Entry(key, parameters, alternatives=tuple(map(_described, others)))
    twists = [command for command in graph.commands if command.type in TWISTS]
    if size in (3, 6) and words(key) & BASE_WORDS and len(twists) == 1:
        return Entry(key, _twist(twists[0], size))
    topics = map(_described, graph.commands)
    return Entry(key, {}, f"{_values(size)}; {_there_are('command topics', topics)}")


def _without_sharing(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Keep one action for each topic whose messages name no joints."""
    used: set[object] = set()
    for entry in entries:
        topic = entry.parameters.get("topic")
        if topic in used:
            yield Entry(entry.key, {}, f"{topic} is taken by another action")
        else:
            yield entry
        if entry.parameters.get("type") not in (None, *NAMED_JOINTS):
            used.add(topic)


def _command_of(
    graph: RobotGraph, key: str, joints: tuple[str, ...]
) -> tuple[CommandTopic | None, list[CommandTopic]]:
    """Return the topic whose controller has these joints, and others that have them as well.

    Where no controller says so, it is the only topic that fits by its name or its type.
    """
    own = [
        command
        for command in graph.commands
        if set(command.joints) == set(joints) and command.type not in TWISTS
    ]
    if own:
        # A trajectory controller comes first: it holds where commands end.
        first, *others = sorted(own, key=lambda command: command.type != "joint_trajectory")
        return first, others
    silent = [c for c in graph.commands if not c.joints and c.type not in TWISTS]
    trajectories = [c for c in silent if c.type == "joint_trajectory"]
    name = the_most_like(key, [c.topic for c in silent]) or _only([c.topic for c in trajectories])
    return next((command for command in silent if command.topic == name), None), []


def _described(command: CommandTopic) -> str:
    return f"{command.topic} ({command.type})"


def _twist(command: CommandTopic, size: int) -> dict[str, object]:
    parameters: dict[str, object] = {"type": command.type, "topic": command.topic}
    if command.type == "twist_stamped":
        parameters["frame_id"] = "base_link"
    if size == len(PLANAR_TWIST):
        parameters["axes"] = list(PLANAR_TWIST)
    return parameters


def _values(size: int | None) -> str:
    return "the policy does not say how many values" if size is None else f"{size} values a step"


def _there_are(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"{what}: {listed}" if listed else f"there are no {what}"


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ""
