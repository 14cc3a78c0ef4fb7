# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side: the nodes, what ties them to `gr00t_policy_core`, and the simulated arm."""

from pkgutil import extend_path

# gr00t_ros.msg is generated code and lies in the installed package only. Python run in the top
# folder of the sources imports this package from there, and finds the messages all the same.
__path__ = extend_path(__path__, __name__)
