"""Damages: how a file may differ from what was written, by accident or on purpose.

`mutant(random, whole, others)` is the file with one damage, and the damage's name. Some hold for
any bytes; hostile ones know the format, and claim what is not so.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Random = np.random.Generator
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2.5, 1e308, float("nan"), float("inf"), 2**31, 2**40, 2**63, 2**70, "",
    "x", "x" * 100_000, "\ud800", "../../etc/passwd", "\0", [], {}, [[[]]], [1, "a"], {"a": None},
    {"class": "LSTM"}, {"class": "Nobody"}, {"array": "nothing"}, [0] * 100_000, 10**400,
)  # fmt: skip
"""What nobody expects in a place of JSON."""
LARGE = (2**31, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def mutant(random: Random, whole: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
    """The file with one damage; `others`: whole files of other kinds."""
    kinds = [cut, cut, flip, flip, swap, noise, zeros, longer, other]
    kinds += [hostile] * 5
    damage = kinds[random.integers(len(kinds))]
    if damage is other:
        return "foreign", others[random.integers(len(others))]
    return NAMES[damage], damage(random, whole)


def cut(random: Random, whole: bytes) -> bytes:
    """The beginning of the file."""
    ends = (0, 1, 8, len(whole) - 1, len(whole) - 8, *random.integers(0, len(whole), 4).tolist())
    return whole[: max(0, ends[random.integers(len(ends))])]


def flip(random: Random, whole: bytes) -> bytes:
    """One bit is another; half of the time near the beginning."""
    data = bytearray(whole)
    most = len(whole) if random.integers(2) else min(len(whole), 200)
    data[random.integers(most)] ^= 1 << int(random.integers(8))
    return bytes(data)


def _two(random: Random, whole: bytes) -> tuple[int, int]:
    first, second = sorted(random.integers(0, len(whole), 2).tolist())
    return first, second


def swap(random: Random, whole: bytes) -> bytes:
    """Two blocks have changed places."""
    first, second = _two(random, whole)
    size = min(int(random.integers(1, 64)), second - first)
    one, two = whole[first : first + size], whole[second : second + size]
    return whole[:first] + two + whole[first + size : second] + one + whole[second + size :]


def noise(random: Random, whole: bytes) -> bytes:
    """A block of random bytes."""
    first, _ = _two(random, whole)
    size = len(whole[first : first + int(random.integers(1, 64))])
    return whole[:first] + random.bytes(size) + whole[first + size :]


def zeros(random: Random, whole: bytes) -> bytes:
    """A block of zeros, as a disk leaves it."""
    first, second = _two(random, whole)
    return whole[:first] + bytes(second - first) + whole[second:]


def longer(random: Random, whole: bytes) -> bytes:
    """Something stands behind the end, or a block stands there twice."""
    first, second = _two(random, whole)
    return whole + random.bytes(9) if random.integers(2) else whole[:second] + whole[first:]


def other(random: Random, whole: bytes) -> bytes:
    """Stands for a file of another kind."""
    del random
    return whole


def hostile(random: Random, whole: bytes) -> bytes:
    """What its format allows to write, and nobody means."""
    if whole[:1] in (b"{", b"[") and b"}\n{" not in whole:  # one object, not one a line
        return hostile_json(random, whole)
    if whole[8:9] == b"{":  # safetensors
        return hostile_safetensors(random, whole)
    if whole[:4] == b"ptax":
        return hostile_compressed(random)
    if whole[:4] in (b"GGUF", b"\x89HDF"):
        return huge_number(random, whole)
    return hostile_text(random, whole)


NAMES: dict[Callable, str] = {
    cut: "cut", flip: "flipped", swap: "swapped", noise: "noise", zeros: "zeros",
    longer: "longer", other: "foreign", hostile: "hostile",
}  # fmt: skip


def huge_number(random: Random, whole: bytes) -> bytes:
    """A number of 4 or 8 bytes in the header claims billions."""
    size = 4 * int(random.integers(1, 3))
    at = int(random.integers(4, min(len(whole), 2000) - size))
    number = LARGE[random.integers(len(LARGE))]
    return whole[:at] + number.to_bytes(8, "little")[:size] + whole[at + size :]


def hostile_safetensors(random: Random, whole: bytes) -> bytes:
    """The header is longer than the file, or says something else of its tensors."""
    size = int.from_bytes(whole[:8], "little")
    if random.integers(5) == 0:
        return LARGE[random.integers(len(LARGE))].to_bytes(8, "little") + whole[8:]
    header = hostile_json(random, whole[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + whole[8 + size :]


def hostile_compressed(random: Random) -> bytes:
    """Claims to hold more than anybody can decode; its checksum is right."""
    numbers = [3, 2, 0, 0]  # tokens, symbols, context, their checksum
    numbers[random.integers(4)] = LARGE[random.integers(len(LARGE))]
    content = b"".join(map(_in_bytes_of_7_bits, numbers)) + random.bytes(3)
    return b"ptax\1" + zlib.crc32(content).to_bytes(4, "big") + content


def _in_bytes_of_7_bits(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low]) if high == 0 else bytes([low | 128]) + _in_bytes_of_7_bits(high)


def hostile_text(random: Random, whole: bytes) -> bytes:
    """One line that is no text, or that has no end."""
    lines = whole.split(b"\n")
    bad = (
        b"\0", b"\xff\xfe\xfd", b"x" * 5_000_000, b"9" * 5000, b"[" * 100_000, b'{"text": 3}',
        b'{"text": "' + b"a" * 2_000_000, b"1,,2", b"1;2,3", b"\x1b[2J", b'"a","b"', b"-1,2",
        b'{"prompt": null, "completion": 1}', b"18446744073709551616,1", b"\xef\xbb\xbf1,0",
    )  # fmt: skip
    lines[random.integers(len(lines))] = bad[random.integers(len(bad))]
    return b"\n".join(lines)


def hostile_json(random: Random, whole: bytes) -> bytes:
    """A value is another one, is missing, is nested without end, or a key stands there twice."""
    content = json.loads(whole)
    places = list(_places(content))
    container, key = places[random.integers(len(places))]
    choice = random.integers(8)
    mark = "the place of what is nested"
    if choice == 0:
        del container[key]
    else:
        container[key] = mark if choice == 1 else HOSTILE[random.integers(len(HOSTILE))]
    if choice == 2 and isinstance(container, dict):
        container[f"{key}_of_another_version"] = container.pop(key)
    text = json.dumps(content)
    deep = "[" * 100_000 + "]" * 100_000
    return text.replace(json.dumps(mark), deep).encode("utf-8", "surrogatepass")


def _places(content: Any) -> Any:
    """All places of a JSON value: a dict or list, and the key of an entry in it."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in list(keys):
        yield content, key
        if isinstance(content[key], dict | list) and len(content[key]) <= 100:
            yield from _places(content[key])
