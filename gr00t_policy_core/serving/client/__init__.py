# SPDX-License-Identifier: Apache-2.0
"""The client of a policy server.

`PolicyClient`, the interface, speaks through a `ClientProtocol` (what it asks a server, and what it
knows of the server), which sends bytes through a `Connection` (one request, one reply; reconnects),
which uses a `Channel` of `gr00t_policy_core.serving.transport` (one socket).
"""
