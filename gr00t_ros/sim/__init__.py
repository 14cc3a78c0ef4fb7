# SPDX-License-Identifier: Apache-2.0
"""A simulated table-top arm: MuJoCo model, ROS 2 node, scripted expert and its recordings.

Importing this package chooses MuJoCo's OpenGL backend, because MuJoCo reads ``MUJOCO_GL`` once,
while it is imported itself: import ``gr00t_ros.sim`` before ``mujoco``.
"""

from gr00t_ros.sim.gl_backend import choose_gl_backend

choose_gl_backend()
