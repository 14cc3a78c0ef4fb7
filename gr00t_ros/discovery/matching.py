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
    states = tuple(_state(graph, key, size, measured.get(key)) for key, size in needs.state.items())
    return Proposal(
        video=tuple(_cameras(graph, needs.video)),
        state=states,
        action=tuple(
            _without_sharing(
                _action(graph, key, size, commanded.get(key), states)
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
    topics = _measuring(graph, key, joints) if joints else []
    topic = _state_topic(graph, key, joints, topics) if joints else ""
    if joints and topic:
        parameters = {"type": "joint_state", "topic": topic, "joints": list(joints)}
        others = tuple(other for other in topics if other != topic)
        return Entry(key, parameters, alternatives=others)
    if joints and topics:
        return Entry(key, {}, f"its joints are measured on several topics: {', '.join(topics)}")
    if "gravity" in words(key) and len(graph.imus) == 1:
        parts = ["projected_gravity"]
        return Entry(key, {"type": "imu", "topic": graph.imus[0], "parts": parts})
    return Entry(key, {}, "; ".join((_values(size), *_what_is_measured(graph))))


def _what_is_measured(graph: RobotGraph) -> Iterator[str]:
    """Say which joints there are, and what is wrong with their topics."""
    yield _there_are("measured joints", sorted(set(chain.from_iterable(_named(graph).values()))))
    if graph.nameless_joint_states:
        yield f"no joint has a name on {', '.join(graph.nameless_joint_states)}"
    topics = _with_joints_of_others(graph)
    if topics:
        yield (
            f"{', '.join(topics)} have joints of the same names: a file takes each joint once, so "
            "a second robot needs a file and nodes of its own"
        )


def _named(graph: RobotGraph) -> dict[str, set[str]]:
    """The joints of each topic that have names."""
    return {topic: set(names) - {""} for topic, names in graph.joint_states.items()}


def _with_joints_of_others(graph: RobotGraph) -> list[str]:
    """The topics of joint states that measure a joint of another one, too."""
    named = _named(graph)
    return [
        topic
        for topic, joints in named.items()
        if any(joints & other for name, other in named.items() if name != topic)
    ]


def _measuring(graph: RobotGraph, key: str, joints: Iterable[str]) -> list[str]:
    """Return the topics that measure all of these joints, without those of the other side."""
    wanted = set(joints)
    return [
        topic
        for topic, names in graph.joint_states.items()
        if wanted.issubset(names) and not contradict(key, (topic,))
    ]


def _state_topic(graph: RobotGraph, key: str, joints: tuple[str, ...], topics: list[str]) -> str:
    """Choose the topic that measures joints: a leader and a second robot have the same ones.

    Empty where neither its name tells, nor the namespace of the controllers of the joints.
    """
    homes = {_home(command.topic, topics) for command in _commands_of(graph, key, joints)}
    return _only(topics) or the_most_like(key, topics) or _only([home for home in homes if home])


def _home(topic: str, joint_states: Iterable[str]) -> str:
    """Return the joint states in the namespace of a topic, or the nearest above; empty if none."""
    spaces = {states: states.rpartition("/")[0] + "/" for states in joint_states}
    above = [states for states, space in spaces.items() if topic.startswith(space)]
    return max(above, key=lambda states: len(spaces[states]), default="")


def _action(
    graph: RobotGraph,
    key: str,
    size: int | None,
    joints: tuple[str, ...] | None,
    states: Iterable[Entry],
) -> Entry:
    """Propose the command of an action; only of joints whose positions a state measures."""
    measured = {joint: entry for entry in states for joint in _joints_of(entry)}
    if joints and set(joints) <= set(measured):
        topics = {measured[joint].parameters["topic"] for joint in joints}
        command, others = _command_of(graph, key, joints, topics)
        if command is not None:
            parameters = {"type": command.type, "topic": command.topic, "joints": list(joints)}
            return Entry(key, parameters, alternatives=tuple(map(_described, others)))
    twists = [command for command in graph.commands if command.type in TWISTS]
    if size in (3, 6) and words(key) & BASE_WORDS and len(twists) == 1:
        return Entry(key, _twist(twists[0], size))
    commands = map(_described, graph.commands)
    return Entry(key, {}, f"{_values(size)}; {_there_are('command topics', commands)}")


def _joints_of(entry: Entry) -> list[str]:
    joints = entry.parameters.get("joints")
    return joints if isinstance(joints, list) else []


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


def _commands_of(graph: RobotGraph, key: str, joints: tuple[str, ...]) -> list[CommandTopic]:
    """Return the topics whose controllers have these joints, or else those that do not say."""
    fitting = [
        command
        for command in graph.commands
        if command.type not in TWISTS and not contradict(key, (command.topic,))
    ]
    own = [command for command in fitting if set(command.joints) == set(joints)]
    return own or [command for command in fitting if not command.joints]


def _command_of(
    graph: RobotGraph, key: str, joints: tuple[str, ...], topics: Set[object]
) -> tuple[CommandTopic | None, list[CommandTopic]]:
    """Return the topic whose controller has these joints, and others that have them as well.

    Where no controller says so, it is the only topic that fits by its name or its type. A
    controller in the namespace of another robot is none of them.

    Args:
        graph: Has the topics.
        key: Of the action.
        joints: What it commands.
        topics: The topics of joint states that measure the joints.
    """
    measuring = _measuring(graph, "", joints)
    commands = [
        command
        for command in _commands_of(graph, key, joints)
        if _home(command.topic, measuring) in ("", *topics)
    ]
    own = [command for command in commands if command.joints]
    if own:
        # A trajectory controller comes first: it holds where commands end.
        first, *others = sorted(own, key=lambda command: command.type != "joint_trajectory")
        return first, others
    trajectories = [c.topic for c in commands if c.type == "joint_trajectory"]
    name = the_most_like(key, [c.topic for c in commands]) or _only(trajectories)
    return next((command for command in commands if command.topic == name), None), []


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
