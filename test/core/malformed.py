# SPDX-License-Identifier: Apache-2.0
"""The fixed corpus of malformed messages, each with a part of the error text."""

import io

import msgpack
import numpy as np

from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

PICKLE = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin\x94."


def npy(descr="'<f4'", order="False", shape="(2,)", data=b"\0" * 8, version=1, header=None):
    text = header or f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + data


def n1d6(payload, **extra):
    return msgpack.packb({"x": {"__ndarray_class__": True, "as_npy": payload, **extra}})


def n1d7(as_text=False, **changes):
    fields = {"nd": True, "type": "<f4", "kind": b"", "shape": [2], "data": b"\0" * 8, **changes}
    kept = {key: value for key, value in fields.items() if value is not ...}
    return msgpack.packb({"x": kept if as_text else {k.encode(): v for k, v in kept.items()}})


def npz():
    archive = io.BytesIO()
    np.savez_compressed(archive, a=np.zeros(100_000))
    return archive.getvalue()


MALFORMED = {
    "nothing": (b"", "ends too early"),
    "unused tag": (b"\xc1", "0xc1"),
    "trailing bytes": (b"\xc0\xc0", "1 bytes follow"),
    "text cut off": (b"\xa5abc", "5 bytes announced, 3 are there"),
    "number cut off": (b"\xcb\0\0", "ends too early"),
    "length cut off": (b"\xdb\0", "ends too early"),
    "map cut off": (b"\x82\xa1a\xc0", "too short"),
    "map without its value": (b"\x81\xa1a", "ends too early"),
    "4 GiB of bytes": (b"\xc6\xff\xff\xff\xff", "4294967295 bytes announced, 0 are there"),
    "4 GiB of text": (b"\xdb\xff\xff\xff\xffabc", "announced, 3 are there"),
    "4 Gi items": (b"\xdd\xff\xff\xff\xff\xc0", "4294967295 entries announced"),
    "4 Gi entries": (b"\xdf\xff\xff\xff\xff\xc0\xc0", "4294967295 entries announced"),
    "4 GiB of extension": (b"\xc9\xff\xff\xff\xff\x05", "announced"),
    "not UTF-8": (b"\xa2\xff\xfe", "UTF-8"),
    "key not UTF-8": (b"\x81\xa1\xff\xc0", "UTF-8"),
    "int key": (b"\x81\x01\xc0", "key must be str or bytes"),
    "list key": (b"\x81\x90\xc0", "key must be str or bytes"),
    "bad timestamp": (b"\xc7\x05\xffabcde", "extension type -1"),
    "negative extension": (b"\xd4\xfe\x00", "extension type -2"),
    "too deep": (b"\x91" * 100 + b"\xc0", "levels deep"),
    "very deep": (b"\x91" * 100_000 + b"\xc0", "levels deep"),
    "too many items": (msgpack.packb([None] * (MAX_ITEMS + 1)), "items"),
    "npz": (n1d6(npz()), ".npz (zip) archives are refused"),
    "pickle for npy": (n1d6(PICKLE), "pickles are refused"),
    "no npy": (n1d6(b"hello world"), "not the bytes of an .npy"),
    "npy of nothing": (n1d6(b""), "not the bytes of an .npy"),
    "npy magic only": (n1d6(b"\x93NUMPY\x01\0"), "not the bytes of an .npy"),
    "npy version 9": (n1d6(npy(version=9)), "version 9"),
    "npy as text": (n1d6("text"), "binary data under 'as_npy', got str"),
    "npy missing": (msgpack.packb({"x": {"__ndarray_class__": True}}), "got nothing"),
    "npy header cut off": (n1d6(npy()[:40]), "are there"),
    "npy header of 60 kB": (n1d6(npy(header=" " * 60_000)), "4096 at most"),
    "npy header that is not a map": (n1d6(npy(header="['descr']")), "malformed .npy header"),
    "npy header with code": (
        n1d6(npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (exit(), ), }")),
        "malformed .npy header",
    ),
    "npy header without shape": (
        n1d6(npy(header="{'descr': '<f4', 'fortran_order': False, }")),
        "without descr, fortran_order or shape",
    ),
    "npy header with a key twice": (
        n1d6(npy(header="{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }")),
        "malformed .npy header",
    ),
    "npy header with values swapped": (
        n1d6(npy(header="{'descr': (2,), 'fortran_order': False, 'shape': '<f4', }")),
        "malformed .npy header",
    ),
    "npy of objects": (n1d6(npy("'|O'", data=PICKLE)), "'|O' are refused"),
    "npy of records": (n1d6(npy("[('a', '<f4')]")), "structured"),
    "npy of text": (n1d6(npy("'<U4'")), "'<U4' are refused"),
    "npy of dates": (n1d6(npy("'<M8[s]'", shape="(1,)")), "are refused"),
    "npy of complex": (n1d6(npy("'<c8'", shape="(1,)")), "'<c8' are refused"),
    "npy of void": (n1d6(npy("'|V8'", shape="(1,)")), "are refused"),
    "npy of 3-byte floats": (n1d6(npy("'<f3'")), "unknown dtype"),
    "npy announcing 8 GB": (n1d6(npy(shape="(2000000000,)")), "8000000000 bytes, 8 came"),
    "npy announcing 10^40 items": (n1d6(npy(shape=f"({10**40},)")), "8 came"),
    "npy announcing too little": (n1d6(npy(shape="(1,)")), "takes 4 bytes, 8 came"),
    "npy with a negative size": (n1d6(npy(shape="(-2,)")), "malformed .npy header"),
    "npy of 100 dimensions": (n1d6(npy(shape="(" + "1," * 100 + ")")), "100 dimensions"),
    "npy empty with an enormous side": (
        n1d6(npy(shape=f"(0, {2**62}, 4)", data=b"")),
        "cannot be built",
    ),
    "objects": (n1d7(kind=b"O", data=PICKLE), "object arrays are pickles"),
    "objects, kind as text": (n1d7(kind="O", data=PICKLE), "object arrays are pickles"),
    "objects, keys as text": (n1d7(True, kind="O", data=PICKLE), "object arrays are pickles"),
    "objects, keys as text, kind as bytes": (n1d7(True, kind=b"O", data=PICKLE), "are pickles"),
    "objects with nd that is 1": (n1d7(nd=1, kind=b"O", data=PICKLE), "are pickles"),
    "objects by type": (n1d7(type="|O", data=PICKLE), "'|O' are refused"),
    "records": (n1d7(kind=b"V", type=[["a", "<f4"]]), "structured"),
    "records without kind": (n1d7(type=[["a", "<f4"]]), "type must be a string, got list"),
    "type as bytes": (n1d7(type=b"<f4"), "type must be a string, got bytes"),
    "type missing": (n1d7(type=...), "type must be a string, got nothing"),
    "type that lists fields": (n1d7(type="f4,f4"), "are refused"),
    "shape missing": (n1d7(shape=...), "shape must be a list"),
    "shape of text": (n1d7(shape="2"), "shape must be a list"),
    "shape of floats": (n1d7(shape=[2.0]), "shape must be a list"),
    "shape of bools": (n1d7(shape=[True, 2]), "shape must be a list"),
    "negative shape": (n1d7(shape=[-1, -2]), "shape must be a list"),
    "shape of 33 dimensions": (n1d7(shape=[1] * 32 + [2]), "33 dimensions"),
    "shape that announces more": (n1d7(shape=[2**60, 2**60]), "8 came"),
    "data missing": (n1d7(data=...), "got nothing"),
    "data of text": (n1d7(data="12345678"), "got str"),
    "scalar of two values": (n1d7(nd=False), "takes 4 bytes, 8 came"),
    "nd that is a number": (n1d7(nd=1), "must be true or false"),
    "config without fields": (msgpack.packb({"__ModalityConfig__": True}), "'as_json'"),
    "config of a list": (
        msgpack.packb({"__ModalityConfig_class__": True, "as_json": [1]}),
        "'as_json', got list",
    ),
    "config of text that is not JSON": (
        msgpack.packb({"__ModalityConfig__": True, "as_json": "{delta_indices: [0]}"}),
        "'as_json' is not JSON",
    ),
    "config of bytes that are not text": (
        msgpack.packb({"__ModalityConfig_class__": True, "as_json": b"\xff{}"}),
        "'as_json' is not JSON",
    ),
    "config of JSON that is not a map": (
        msgpack.packb({"__ModalityConfig__": True, "as_json": "[0]"}),
        "'as_json', got list",
    ),
    "config of JSON without end": (
        msgpack.packb({"__ModalityConfig__": True, "as_json": "[" * 100_000}),
        "'as_json' is not JSON",
    ),
    "config of too much JSON": (
        msgpack.packb({"__ModalityConfig__": True, "as_json": " " * 2_000_000}),
        "1048576 at most",
    ),
    "config of JSON with wrong fields": (
        msgpack.packb(
            {"__ModalityConfig__": True, "as_json": '{"delta_indices": [0.5], "modality_keys": 6}'}
        ),
        "delta_indices must be a non-empty list of int",
    ),
    "config with unknown fields": (
        msgpack.packb({"__ModalityConfig__": True, "as_json": {"delta": 1}}),
        "malformed modality config",
    ),
    "config with wrong fields": (
        msgpack.packb(
            {"__ModalityConfig__": True, "as_json": {"delta_indices": 5, "modality_keys": 6}}
        ),
        "delta_indices",
    ),
    "config with an array for keys": (
        msgpack.packb(
            {
                "__ModalityConfig__": True,
                "as_json": {
                    "delta_indices": [0],
                    "modality_keys": ["arm"],
                    "sin_cos_embedding_keys": msgpack.unpackb(n1d7())["x"],
                },
            }
        ),
        "sin_cos_embedding_keys must be a list of str or None",
    ),
    "config with an unknown enum": (
        msgpack.packb(
            {
                "__ModalityConfig__": True,
                "as_json": {
                    "delta_indices": [0],
                    "modality_keys": ["a"],
                    "action_configs": [{"rep": "WRONG", "type": "EEF", "format": "DEFAULT"}],
                },
            }
        ),
        "WRONG",
    ),
    "config with action configs of text": (
        msgpack.packb(
            {
                "__ModalityConfig__": True,
                "as_json": {
                    "delta_indices": [0],
                    "modality_keys": ["a"],
                    "action_configs": ["x"],
                },
            }
        ),
        "malformed modality config",
    ),
}
