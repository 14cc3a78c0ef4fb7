# SPDX-License-Identifier: Apache-2.0
# Gives a bash shell the ROS 2 that `make` uses, and this package as far as it is built:
#   . scripts/ros_env.bash && pytest test/ros
# DISTRO=jazzy before the dot chooses the other set-up of a machine without a ROS 2 of its own.

. "$(dirname "${BASH_SOURCE[0]}")/ros_kind.bash"

if [ "$ROS_KIND" = pip ]; then
  # What another ROS 2 or an enclosing Python left behind would be found before our own.
  [ -z "${AMENT_PREFIX_PATH:-}" ] || unset LD_LIBRARY_PATH
  unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
  . "$VENV/local_setup.bash"
else
  . "$VENV/bin/activate"
fi
if [ -f "$INSTALL/local_setup.bash" ]; then
  . "$INSTALL/local_setup.bash"
fi
