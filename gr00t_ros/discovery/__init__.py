# SPDX-License-Identifier: Apache-2.0
"""Proposes a robot's YAML file from a running ROS graph and the keys of a policy."""
