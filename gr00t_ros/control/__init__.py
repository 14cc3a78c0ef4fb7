# SPDX-License-Identifier: Apache-2.0
"""The control node: action chunks in, commands out at the control rate."""
