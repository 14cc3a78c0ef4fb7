# SPDX-License-Identifier: Apache-2.0
"""Stamped samples, action chunks over time, limits, and the timing of the control loop."""
