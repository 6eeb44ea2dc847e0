"""Damaged network files end in one line or load: never a traceback, a hang, or memory that the file does not hold.

SYSMOL_FUZZ inputs (`make fuzz`: 20,000), 300 by default. More than half are damaged behind the checksum, which is made
right again; the others are damaged as bytes.
"""

import copy
import json
import os
import resource
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sysmol import network
from sysmol.errors import SysmolError
from sysmol.network import file as network_file
from sysmol.network.builder import any_network, random_network
from sysmol.network.file import container

COUNT = int(os.environ.get("SYSMOL_FUZZ", "300"))
MEMORY = 256 << 20
SECONDS = 20.0

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    31,
    32,
    63,
    255,
    256,
    65_535,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**53,
    2**63,
    2**80,
    -(2**40),
]
ODD = [None, True, False, "", "x", "4", "*/", "a\nb", "x" * 300, [], {}, [[]], 0.5, -0.0, 1e308, float("nan"), "image"]
WORDS = [
    "conv2d",
    "depthwise",
    "avgpool",
    "maxpool",
    "rescale",
    "flatten",
    "smol",
    "s8",
    "u8",
    "s32",
    "f32",
    "high",
    "low",
]
KEYS = ["multiply", "pre", "residual", "second", "planes", "sums", "weight", "table", "zero_point", "layout", "groups"]


def places(value, at=()):
    """Paths to everything inside a description."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*at, key))


def damage(rng, description):
    """Change, remove, repeat or exchange something, somewhere."""
    every = [at for at in places(description) if at]
    for _ in range(int(rng.integers(1, 4))):
        at = every[int(rng.integers(len(every)))]
        holder = description
        try:
            for key in at[:-1]:
                holder = holder[key]
            kind = int(rng.integers(6))
            if kind == 0:
                del holder[at[-1]]
            elif kind == 1:
                holder[at[-1]] = copy.deepcopy(NUMBERS[int(rng.integers(len(NUMBERS)))])
            elif kind == 2:
                holder[at[-1]] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
            elif kind == 3:
                holder[at[-1]] = WORDS[int(rng.integers(len(WORDS)))]
            elif kind == 4 and isinstance(holder, list):
                holder.append(copy.deepcopy(holder[at[-1]]))
            elif isinstance(holder, dict):
                holder[KEYS[int(rng.integers(len(KEYS)))]] = copy.deepcopy(holder[at[-1]])
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away


def damage_arrays(rng, arrays):
    name = list(arrays)[int(rng.integers(len(arrays)))]
    kind = int(rng.integers(5))
    flat = arrays[name].reshape(-1).copy()
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = flat[: int(rng.integers(len(flat) + 1))]
    elif kind == 2:
        arrays[name] = arrays[name].astype([np.float64, np.int16, np.float16, np.bool_][int(rng.integers(4))])
    elif kind == 3 and len(flat):
        flat[int(rng.integers(len(flat)))] ^= 1 << int(rng.integers(8))
        arrays[name] = flat.reshape(arrays[name].shape)
    else:
        arrays["samples.extra" if kind == 3 else name] = np.zeros((0, 3), np.uint8)


def rewritten(rng, data):
    """A file with something wrong behind a right checksum."""
    whole = safetensors.numpy.load(data)
    whole = {name: array.copy() for name, array in whole.items()}
    description = json.loads(zlib.decompress(whole.pop("description").tobytes()))
    if rng.random() < 0.8:
        damage(rng, description)
    if rng.random() < 0.4:
        damage_arrays(rng, whole)
    text = json.dumps(description).encode()
    if rng.random() < 0.05:
        text = [b"[" * 100_000, b"{}", b"null", b'{"name":' * 50_000, text[: len(text) // 2], b" " * (8 << 20)][
            int(rng.integers(6))
        ]
    whole["description"] = np.frombuffer(zlib.compress(text), np.uint8)
    version = 3 if rng.random() < 0.85 else int(rng.integers(1, 4))
    head = {"format": network_file.FORMAT, "version": version, "crc32": container.checksum(whole)}
    return safetensors.numpy.save(whole, {"sysmol": json.dumps(head)})


def scrambled(rng, data):
    """A file damaged as bytes: flipped, cut, lengthened, or with another header's length."""
    data = bytearray(data)
    kind = int(rng.integers(4))
    if kind == 0:
        for place in rng.integers(0, len(data), int(rng.integers(1, 20))):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del data[int(rng.integers(len(data))) :]
    elif kind == 2:
        data += bytes(int(rng.integers(1, 4000)))
    else:
        data[:8] = int(rng.choice([0, 1, 2**16, 2**31, 2**62])).to_bytes(8, "little")
    return bytes(data)


def sources(tmp_path, rng):
    made = [any_network(int(rng.integers(1 << 30))) for _ in range(6)] + [
        random_network(int(rng.integers(1 << 30)), 5, (5, 9))
    ]
    files = [network.save(tmp_path / f"{n}.safetensors", each).read_bytes() for n, each in enumerate(made)]
    return files + [path.read_bytes() for path in sorted((Path(__file__).parent / "data").glob("version1*"))]


def test_damaged_files_end_in_one_line(tmp_path, seed):
    rng = np.random.default_rng(seed)
    files = sources(tmp_path, rng)
    path = tmp_path / "damaged.network.safetensors"
    refused = behind = 0
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    before = sorted(p.name for p in tmp_path.iterdir())
    for number in range(COUNT):
        source = files[int(rng.integers(len(files)))]
        version1 = b'"crc32"' not in source[:4000].replace(b"\\", b"")
        if version1 or rng.random() < 0.3:
            path.write_bytes(scrambled(rng, source))
        else:
            path.write_bytes(rewritten(rng, source))
            behind += 1
        start = time.monotonic()
        try:
            network.load(path)
        except SysmolError as error:
            text = str(error)
            assert text.isprintable() and len(text) < 1000, f"SYSMOL_TEST_SEED={seed}, input {number}: {text!r}"
            refused += 1
        except BaseException as error:  # pragma: no cover
            kept = tmp_path.parent / "fuzz-input.safetensors"
            kept.write_bytes(path.read_bytes())
            pytest.fail(f"SYSMOL_TEST_SEED={seed}, input {number} ({kept}): {type(error).__name__}: {error}")
        assert time.monotonic() - start < SECONDS, f"SYSMOL_TEST_SEED={seed}, input {number} takes too long"
    assert behind >= COUNT / 2 and refused > COUNT / 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - base < MEMORY
    assert sorted(p.name for p in tmp_path.iterdir() if p != path) == before
