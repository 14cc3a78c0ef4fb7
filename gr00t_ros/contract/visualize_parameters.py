# SPDX-License-Identifier: Apache-2.0
"""The parameters `visualize.…`: what the visualization node draws. Pure."""

from __future__ import annotations

from gr00t_ros.contract.parameter import Parameter

GHOST_MODES = ("end", "loop")

VISUALIZE_PARAMETERS = (
    Parameter(
        "visualize.tips",
        [],
        "links whose paths are drawn; empty: the tips of workspaces and end effectors, and the "
        "last link of each other action of two joints or more",
    ),
    Parameter(
        "visualize.rate_hz",
        5.0,
        "Hz, at most so often a picture of each kind is published",
        0.1,
        60.0,
    ),
    Parameter(
        "visualize.ghost",
        "end",
        "where the ghost robot is: at the end of the newest chunk, or moving along it in a loop",
        choices=GHOST_MODES,
    ),
    Parameter(
        "visualize.image_resize",
        "",
        "first resize of the policy's images, as its server names it among its capabilities, for "
        "example resize:area:256; empty: as the policy node says",
    ),
)
