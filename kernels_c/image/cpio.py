"""Archives of Linux's initramfs: the "newc" cpio format (kernel documentation, early-userspace/buffer-format)."""

from dataclasses import dataclass

MODE_FILE, MODE_FOLDER, MODE_DEVICE = 0o100000, 0o040000, 0o020000


@dataclass(frozen=True)
class Entry:
    """One file, folder or character device of the archive. ``device``: major and minor number."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    return Entry(name, MODE_FOLDER | 0o755)


def program(name: str, data: bytes) -> Entry:
    return Entry(name, MODE_FILE | 0o755, data)


def character_device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, MODE_DEVICE | 0o600, device=(major, minor))


def archive(entries: list[Entry]) -> bytes:
    """The archive's bytes; equal entries give equal bytes (no times, owner 0)."""
    parts = [_record(number, entry) for number, entry in enumerate(entries, 1)]
    parts.append(_record(0, Entry("TRAILER!!!", 0)))
    return b"".join(parts)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if entry.mode & MODE_FOLDER else 1
    # inode, mode, uid, gid, links, time, size, the archive's device, the entry's device, length of the name, checksum
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
