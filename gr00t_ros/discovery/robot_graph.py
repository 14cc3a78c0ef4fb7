# SPDX-License-Identifier: Apache-2.0
"""What a running robot offers, and what a policy needs of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gr00t_policy_core.modality import ModalityConfig


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """A topic that commands can be published on.

    Args:
        topic: Its name.
        type: The name of its command interface, such as ``joint_trajectory``.
        joints: The joints of the controller behind it, in its order; empty where it does not say.
    """

    topic: str
    type: str
    joints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotGraph:
    """The topics of a robot that can be states, cameras or commands.

    Args:
        cameras: Topics of images.
        joint_states: The joints that each topic of joint states measures, by topic.
        nameless_joint_states: Topics of joint states whose joints have no names.
        imus: Topics of IMUs.
        commands: Topics that something subscribes to.
        descriptions: Topics of robot descriptions.
        sliding_joints: The prismatic joints of the descriptions.
    """

    cameras: tuple[str, ...] = ()
    joint_states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nameless_joint_states: tuple[str, ...] = ()
    imus: tuple[str, ...] = ()
    commands: tuple[CommandTopic, ...] = ()
    descriptions: tuple[str, ...] = ()
    sliding_joints: frozenset[str] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether it has something of each kind that nearly every robot has."""
        return bool(self.cameras and self.joint_states and self.commands)


@dataclass(frozen=True, slots=True)
class PolicyNeeds:
    """The keys of a policy, each with its values per step; None where the policy does not say."""

    video: tuple[str, ...]
    state: Mapping[str, int | None]
    action: Mapping[str, int | None]
    has_instruction: bool

    @classmethod
    def of(
        cls,
        configs: Mapping[str, ModalityConfig],
        dimensions: Mapping[str, Mapping[str, int]],
    ) -> PolicyNeeds:
        """Make it from what a policy says about itself."""

        def sizes(modality: str) -> dict[str, int | None]:
            known = dimensions.get(modality, {})
            return {key: known.get(key) for key in _keys(configs, modality)}

        return cls(
            video=tuple(_keys(configs, "video")),
            state=sizes("state"),
            action=sizes("action"),
            has_instruction=bool(_keys(configs, "language")),
        )


def _keys(configs: Mapping[str, ModalityConfig], modality: str) -> list[str]:
    config = configs.get(modality)
    return config.modality_keys if config is not None else []
