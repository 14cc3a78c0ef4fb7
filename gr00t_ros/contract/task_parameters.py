# SPDX-License-Identifier: Apache-2.0
"""The parameters of the task node, which are its own. Pure."""

from __future__ import annotations

from gr00t_ros.contract.parameter import Parameter

TASK_PARAMETERS = (
    Parameter(
        "default_enders",
        [],
        "enders of a goal that names none, each in one line of YAML: `convergence: {for_s: 2.0}`",
    ),
    Parameter(
        "default_time_limit_s", 0.0, "s, time limit of a goal that gives none; 0: none", 0, 86400
    ),
    Parameter(
        "preempt",
        False,
        "a second goal ends the first one and takes its place; false: it is rejected",
    ),
    Parameter("end_on_takeover", True, "a task ends when a person takes over the robot"),
    Parameter(
        "status_timeout_s",
        3.0,
        "s, a node that sends no status for this long has ended, or hangs; they send one every "
        "0.5 s",
        1.0,
        600.0,
    ),
    Parameter(
        "stall_timeout_s",
        10.0,
        "s, a robot that plays no chunk for this long does not go on by itself, whatever it waits "
        "for",
        1.0,
        3600.0,
    ),
    Parameter(
        "end_with_pid",
        0,
        "id of a process with which the node ends, after the robot came to rest; 0: none. "
        "policy.launch.py sets its own",
        0,
        2**22,
    ),
)
