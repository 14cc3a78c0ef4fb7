# SPDX-License-Identifier: Apache-2.0
"""Sockets: ZMTP in plain text over TCP and Unix sockets, and CURVE by libzmq.

Nothing here looks into a message. `base` has the interfaces of both ends: `Transport` for a server
and `Channel` for a client; `tcp_*` and `curve_*` implement them.
"""
