# SPDX-License-Identifier: Apache-2.0
"""Bytes to objects and back: the serializer, arrays, the envelope of a message, JPEG."""
