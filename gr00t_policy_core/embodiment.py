# SPDX-License-Identifier: Apache-2.0
"""Embodiment tags: the robot and the action space that a checkpoint drives."""

from __future__ import annotations

from enum import Enum


class EmbodimentTag(str, Enum):
    """Tags of the published GR00T checkpoints (Isaac-GR00T N1.6 and N1.7).

    The members save typing. A checkpoint's own `embodiment_id.json` defines the tags that it knows,
    and the tag of a new robot is a string.
    """

    # N1.7, in the base model
    OXE_DROID_RELATIVE_EEF_RELATIVE_JOINT = "oxe_droid_relative_eef_relative_joint"
    XDOF = "xdof_relative_eef_relative_joint"
    XDOF_SUBTASK = "xdof_relative_eef_relative_joint_subtask"
    REAL_G1 = "real_g1_relative_eef_relative_joints"
    REAL_R1_PRO_SHARPA = "real_r1_pro_sharpa_relative_eef"
    REAL_R1_PRO_SHARPA_HUMAN = "real_r1_pro_sharpa_relative_eef_human"
    REAL_R1_PRO_SHARPA_MAXINSIGHTS = "real_r1_pro_sharpa_relative_eef_maxinsights"
    REAL_R1_PRO_SHARPA_MECKA = "real_r1_pro_sharpa_relative_eef_mecka"

    # N1.7, in fine-tuned checkpoints
    UNITREE_G1 = "unitree_g1_full_body_with_waist_height_nav_cmd"
    UNITREE_G1_SONIC = "unitree_g1_sonic"
    SIMPLER_ENV_GOOGLE = "simpler_env_google"
    SIMPLER_ENV_WIDOWX = "simpler_env_widowx"
    LIBERO_PANDA = "libero_sim"
    NEW_EMBODIMENT = "new_embodiment"
    ROBOCASA_GR1_TABLETOP = "robocasa_gr1_tabletop"
    ROBOCASA_PANDA_OMRON = "robocasa_panda_omron"

    # N1.6 only
    GR1 = "gr1"
    BEHAVIOR_R1_PRO = "behavior_r1_pro"
    OXE_DROID = "oxe_droid"
    OXE_GOOGLE = "oxe_google"
    OXE_WIDOWX = "oxe_widowx"

    @classmethod
    def resolve(cls, tag: EmbodimentTag | str) -> EmbodimentTag | str:
        """Find a tag by name or value, ignoring case.

        Args:
            tag: A member, its name or value, or the tag of a new robot.

        Returns:
            The member, or for a new robot `tag` itself without surrounding spaces.

        Raises:
            ValueError: The tag is empty.
            TypeError: The tag is not a string.
        """
        if isinstance(tag, cls):
            return tag
        if not isinstance(tag, str):
            raise TypeError(f"embodiment tag must be a string, got {type(tag).__name__}: {tag!r}")
        stripped = tag.strip()
        if not stripped:
            raise ValueError(f"embodiment tag is empty: {tag!r}")
        wanted = stripped.lower()
        for member in cls:
            if wanted in (member.name.lower(), member.value.lower()):
                return member
        return stripped
