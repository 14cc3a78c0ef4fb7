# SPDX-License-Identifier: Apache-2.0
"""Recorded datasets in LeRobot's formats."""
