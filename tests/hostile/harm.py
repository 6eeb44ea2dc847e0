"""Damage of files, as transfer, editors and people who mean harm do it. Everything follows from the generator given."""

import contextlib
import copy
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import safetensors.numpy

from sysmol.network.file import FORMAT, container

NAMES = (
    '*/ int main(void) { system("touch hostile-was-here"); } /*',
    "<script>document.title='hostile'</script>",
    "../x",
    "../../usr/bin/touch",
    "/etc/passwd",
    "/dev/zero",
    "$(touch hostile-was-here)",
    "a\nb",
    "a\0b",
    "\ud800",
    "\u202e gnp",
    "",
    ".",
    "x" * 100_000,
    "%s%n",
    "__class__",
)
"""Texts that mean something to C, HTML, a shell, a file system or a terminal."""
NUMBERS = (
    0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 300_000_000, 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
OTHERS = (None, True, False, [], {}, [[]], {"": None}, [None], "text", "1")


def value(rng: random.Random) -> Any:
    """A value of any type."""
    return copy.deepcopy(rng.choice((*NAMES, *NUMBERS, *OTHERS)))


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """All ``(container, key)`` of a JSON value."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, inner in list(pairs):
        yield data, key
        yield from places(inner)


def change_json(rng: random.Random, data: Any) -> Any:
    """A copy with one to three values replaced, removed, doubled or renamed."""
    made = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(made))
        if not found:
            break
        container, key = rng.choice(found)
        kind = rng.randrange(8)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            known = [name for _, name in found if isinstance(name, str)]
            container[rng.choice((*known, *NAMES))] = container.pop(key)
        elif kind == 2 and isinstance(container[key], list):
            container[key] = container[key] * rng.choice((0, 2, 50))
        elif kind == 3 and isinstance(container[key], int | float):
            container[key] = rng.choice(NUMBERS)
        elif kind == 4 and isinstance(container[key], str):
            container[key] = rng.choice(NAMES)
        elif kind == 5:
            other, name = rng.choice(found)
            if name in other if isinstance(other, dict) else name < len(other):
                container[key] = copy.deepcopy(other[name])
        else:
            container[key] = value(rng)
    return made


def damage_json(rng: random.Random, content: bytes) -> bytes:
    """JSON whose values are others, whose keys stand twice, that is nested deeply; or damaged bytes."""
    kind = rng.randrange(10)
    if kind == 0:
        return damage_bytes(rng, content)
    if kind == 1:
        depth = rng.choice((50, 2_000, 100_000))
        nested = "[" * depth + "]" * depth if rng.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
        data = json.loads(content)
        container, key = rng.choice(list(places(data)))
        container[key] = "NESTED"
        return json.dumps(data).replace('"NESTED"', nested).encode()
    if kind == 2:
        text = json.dumps(json.loads(content))
        at = rng.choice([i for i, c in enumerate(text) if c == "{"]) + 1
        first = text[at:].split(":")[0]
        second = '"format": "sysmol-manifest"' if "}" in first else f"{first}: {json.dumps(value(rng))}"
        return (text[:at] + second + ", " + text[at:]).encode()
    return json.dumps(change_json(rng, json.loads(content))).encode()


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Cut, with flipped bits, a part removed or doubled, words of extreme values, or with text in its middle."""
    data = bytearray(content)
    if not data:
        return bytes(rng.randbytes(10))
    kind = rng.randrange(6)
    at = rng.randrange(len(data))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for _ in range(rng.choice((1, 8, 64))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del data[at : at + rng.choice((1, 16, 256))]
    elif kind == 3:
        data[at:at] = data[at : at + rng.choice((1, 16, 256))]
    elif kind == 4:
        form, word = rng.choice((("<I", 2**32 - 1), ("<Q", 2**63 - 1), ("<I", 2**31), ("<Q", 0), ("<I", 300_000_000)))
        data[at : at + struct.calcsize(form)] = struct.pack(form, word)
    else:
        data[at:at] = rng.choice(NAMES).encode(errors="surrogatepass")
    return bytes(data)


def damage_lines(rng: random.Random, content: bytes) -> bytes:
    """Text whose lines are removed, doubled, exchanged, or have another word; or damaged bytes."""
    if rng.random() < 0.3:
        return damage_bytes(rng, content)
    lines = content.decode(errors="replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        else:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = str(rng.choice((*NAMES, *NUMBERS)))[:5000]
            lines[at] = " ".join(words)
        lines = lines or [""]
    return "\n".join(lines).encode(errors="surrogatepass")


def damage_zip(rng: random.Random, content: bytes) -> bytes:
    """An archive one of whose members is damaged, under a right checksum; or damaged bytes."""
    if rng.random() < 0.3:
        return damage_bytes(rng, content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(list(members))
    kind = rng.randrange(6)
    if kind == 0:
        members[chosen] = members[chosen] + bytes(rng.choice((1, 1 << 20, 70 << 20)))
    elif kind == 1:
        del members[chosen]
    elif kind == 2:
        members[rng.choice(NAMES[:6])] = members.pop(chosen)
    else:  # headers lie at the beginning
        head = damage_bytes(rng, members[chosen][:128]) if kind < 5 else damage_lines(rng, members[chosen][:128])
        members[chosen] = head + members[chosen][128:]
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if kind == 0 else method) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def damage_packed(rng: random.Random, content: bytes) -> bytes:
    """What is packed by gzip is damaged and packed again; or damaged bytes."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.8:
        return gzip.compress(damage_bytes(rng, gzip.decompress(content)), 1)
    return damage_bytes(rng, content)


def damage_tensors(rng: random.Random, content: bytes) -> bytes:
    """A safetensors file whose header or arrays are others; or damaged bytes."""
    size = int.from_bytes(content[:8], "little")
    kind = rng.randrange(4)
    if kind == 0:
        return damage_bytes(rng, content)
    if kind == 1:
        head = damage_json(rng, content[8 : 8 + size])
        return len(head).to_bytes(8, "little") + head + content[8 + size :]
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    damage_arrays(rng, arrays)
    return safetensors.numpy.save(arrays)


def damage_protobuf(rng: random.Random, content: bytes) -> bytes:
    """An ONNX model with one to three fields replaced, removed, doubled or taken from elsewhere; or damaged bytes."""
    if rng.random() < 0.15:
        return damage_bytes(rng, content)
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        damage_field(rng, rng.choice(list(messages(model))))
    return bytes(model.SerializeToString())


def messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it holds."""
    yield message
    for field, held in message.ListFields():
        if field.message_type is not None:
            for inner in held if field.is_repeated else (held,):
                yield from messages(inner)


def damage_field(rng: random.Random, message: Any) -> None:
    """One field of a protobuf message."""
    fields = message.ListFields()
    if not fields:
        return
    field, held = rng.choice(fields)
    if field.is_repeated:
        at = rng.randrange(len(held))
        kind = rng.randrange(4)
        if kind == 0:
            del held[at]
        elif kind == 1:
            held.extend([held[at]])
        elif field.message_type is not None:
            held[at].CopyFrom(rng.choice(held))
        else:
            held[at] = other_scalar(rng, held[at], list(held))
    elif field.message_type is not None or rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        with contextlib.suppress(ValueError, UnicodeError):  # an enumeration has no such value
            setattr(message, field.name, other_scalar(rng, held, []))


def other_scalar(rng: random.Random, held: Any, known: list[Any]) -> Any:
    """Another value of the same type."""
    if known and rng.random() < 0.3:
        return rng.choice(known)
    if isinstance(held, float):
        return rng.choice((0.0, -1.0, 1e-42, 3e38, float("nan"), float("inf")))
    if isinstance(held, int):
        return rng.choice((0, -1, 1, 2, 3, 7, 255, 300_000_000, 2**31 - 1, -(2**31)))
    if isinstance(held, bytes):
        return damage_bytes(rng, held)
    return rng.choice([name for name in NAMES if name.isascii()])


def damage_network(rng: random.Random, content: bytes) -> bytes:
    """A network file whose description or arrays are others, under a right checksum; or damaged bytes. Files of
    version 1 have no checksum."""
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    if "description" not in arrays or rng.random() < 0.2:
        return damage_bytes(rng, content)
    description = zlib.decompress(arrays.pop("description").tobytes())
    kind = rng.randrange(10)
    if kind < 4:
        damage_arrays(rng, arrays)
    if kind > 1:
        description = damage_json(rng, description)
    arrays["description"] = np.frombuffer(zlib.compress(description), np.uint8)
    version = 3 if rng.random() < 0.85 else rng.randint(1, 4)
    head = {"format": FORMAT, "version": version, "crc32": container.checksum(arrays)}
    return safetensors.numpy.save(arrays, {"sysmol": json.dumps(head)})


def damage_arrays(rng: random.Random, arrays: dict[str, np.ndarray]) -> None:
    """One array is removed, cut, of another type, has a flipped bit; or there is one more."""
    name = rng.choice(list(arrays))
    flat = arrays[name].reshape(-1)
    kind = rng.randrange(5)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = flat[: rng.randrange(len(flat) + 1)]
    elif kind == 2:
        with np.errstate(all="ignore"):
            arrays[name] = arrays[name].astype(rng.choice((np.float64, np.int16, np.float16, np.bool_)))
    elif kind == 3 and len(flat):
        flat.view(np.uint8)[rng.randrange(flat.nbytes)] ^= 1 << rng.randrange(8)
    else:
        arrays[rng.choice((name, "samples.extra"))] = np.zeros((0, 3), np.uint8)


Damage = Callable[[random.Random, bytes], bytes]
