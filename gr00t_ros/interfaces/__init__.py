# SPDX-License-Identifier: Apache-2.0
"""The message types that states, cameras and commands travel in."""
