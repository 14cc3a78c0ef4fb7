# SPDX-License-Identifier: Apache-2.0
"""The enders of this package; importing it registers them all."""

from gr00t_ros.task.enders import convergence, joint, policy_signal, pose, time_passed, topic

__all__ = ["convergence", "joint", "policy_signal", "pose", "time_passed", "topic"]
