# SPDX-License-Identifier: Apache-2.0
"""Runs a policy until a task ends: the action RunPolicy, and the enders that say when it is over.

An ender of your own needs what is exported here; see docs/how-to/run-a-task.md.
"""

from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.task.dwell import Dwell
from gr00t_ros.task.ender import Ender, Reading
from gr00t_ros.task.outcome import Outcome

__all__ = ["Dwell", "Ender", "Outcome", "Parameter", "Reading"]
