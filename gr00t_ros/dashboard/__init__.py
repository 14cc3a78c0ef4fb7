# SPDX-License-Identifier: Apache-2.0
"""The dashboard: a web page that shows the robot and its policy, and starts and stops them."""
