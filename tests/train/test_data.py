"""Data sets: bundled digits, standard files written by the tests, missing and damaged ones, real files if named."""

import gzip
import io
import lzma
import os
import pickle
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sysmol.errors import SysmolError
from sysmol.train.frontend import data


def test_digits() -> None:
    first, second = data.load("digits"), data.load("digits")
    assert first.train_images.shape == (1437, 8, 8, 1) and first.test_images.shape == (360, 8, 8, 1)
    assert first.train_images.dtype == np.uint8 and first.train_images.max() == 255
    assert np.array_equal(first.test_images, second.test_images)
    real = data.to_real(first.test_images[:2])
    assert real.shape == (2, 1, 8, 8) and np.array_equal(
        real.numpy() * 64 + 128, first.test_images[:2].transpose(0, 3, 1, 2)
    )


def test_missing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SYSMOL_DATA", raising=False)
    with pytest.raises(SysmolError, match="set SYSMOL_DATA"):
        data.load("cifar10")
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    for name in ("cifar10", "mnist"):
        with pytest.raises(SysmolError, match=f"no {name} files"):
            data.load(name)


def idx(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, packed: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 28, 28)), rng.integers(0, 10, 12)
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = idx(array)
            if packed:
                (folder / f"{split}-{kind}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{split}-{kind}").write_bytes(content)
    return images, labels


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sub", ["mnist", "."])
def test_mnist_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed: bool, sub: str) -> None:
    images, labels = write_mnist(tmp_path / sub, packed)
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    found = data.load("mnist")
    assert np.array_equal(found.train_images[..., 0], images) and np.array_equal(found.test_labels, labels)


def test_damaged_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    write_mnist(tmp_path, False)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SysmolError, match="truncated"):
        data.load("mnist")
    path.write_bytes(b"nonsense")
    with pytest.raises(SysmolError, match="not an idx file"):
        data.load("mnist")
    path.unlink()
    with pytest.raises(SysmolError, match="cannot read"):
        data.load("mnist")
    Path(f"{path}.gz").write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(SysmolError, match="not a whole gzip"):
        data.load("mnist")


def test_cifar10_binary_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        with open(folder / name, "wb") as stream:
            stream.write(bytes([number]) + bytes([1]) * 1024 + bytes([2]) * 1024 + bytes([3]) * 1024)
            stream.truncate(30_730_000)
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    found = data.load("cifar10")
    assert found.train_images.shape == (50_000, 32, 32, 3) and found.test_images.shape == (10_000, 32, 32, 3)
    assert found.train_labels[::10_000].tolist() == [0, 1, 2, 3, 4] and found.test_labels[0] == 5
    assert found.test_images[0, 7, 9].tolist() == [1, 2, 3]
    os.truncate(folder / "data_batch_3.bin", 1000)
    with pytest.raises(SysmolError, match=r"data_batch_3\.bin is missing or truncated"):
        data.load("cifar10")


def test_cifar10_python_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plane = np.repeat(np.array([[1, 2, 3]], np.uint8), 1024, axis=1).reshape(1, 3072)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {b"data": np.repeat(plane, 10_000, axis=0), b"labels": [7] * 10_000}
        (tmp_path / name).write_bytes(pickle.dumps(batch))
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    found = data.load("cifar10")
    assert found.test_images.shape == (10_000, 32, 32, 3) and set(found.train_labels) == {7}
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps({b"data": os.system}))
    with pytest.raises(SysmolError, match="not a CIFAR-10 Python batch"):
        data.load("cifar10")


def jpeg(size: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (size, size)).save(content, "JPEG")
    return content.getvalue()


def test_damaged_packed_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    for name, content in (
        ("cifar10_jpeg_packed.bin.xz", b"no xz"),
        ("cifar10_jpeg_packed.bin", b"\x03" + len(jpeg(33)).to_bytes(2, "little") + jpeg(33)),
        ("cifar10_jpeg_packed.bin", b"\x03\x10\x00short"),
        ("cifar10_jpeg_packed.bin", b"\x03\x02\x00no"),
        ("cifar10_jpeg_packed.bin", b""),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SysmolError, match="packed"):
            data.load("cifar10")
        path.unlink()


def packed_zeros(write: Callable[[bytes], bytes], count: int = 1 << 30) -> bytes:
    """So many zeros, packed: far fewer bytes."""
    piece = write(bytes(1 << 24))
    return piece * (count >> 24)  # gzip and xz files may be several in a row


BATCH = "data_batch_1"
LARGE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("train-images-idx3-ubyte.gz", lambda: packed_zeros(gzip.compress)),
    "xz": ("cifar10_jpeg_packed.bin.xz", lambda: packed_zeros(lzma.compress)),
    "idx header": ("train-images-idx3-ubyte", lambda: b"\0\0\x08\x03" + b"\xff" * 12),
    "pickled shape": (
        BATCH,
        lambda: pickle.dumps({b"data": np.zeros(5, np.uint8)}).replace(b"K\x05", b"J\xff\xff\xff\x7f"),
    ),
    "another encoding": (BATCH, lambda: b"c_codecs\nencode\n(V" + b"a" * 1000 + b"\nVpunycode\ntR."),
    "archive": ("cifar-10-binary.tar.gz", lambda: archive_of(1 << 30)),
}
"""Files that would become much larger in memory than they are."""


def archive_of(size: int) -> bytes:
    """A batch that claims this size, and holds it as zeros."""
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.size = size
    return gzip.compress(member.tobuf()) + packed_zeros(gzip.compress, size)


@pytest.mark.parametrize("kind", LARGE)
def test_no_file_takes_more_memory_than_data_sets_have(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    name, make = LARGE[kind]
    (tmp_path / name).write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(SysmolError, match=r"more than|not an idx|truncated|not a CIFAR-10|missing") as caught:
            data.load("mnist" if "idx" in name else "cifar10")
        assert tracemalloc.get_traced_memory()[1] < 256 << 20 and str(caught.value).isprintable()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "cifar10_jpeg_packed.bin"])
def test_what_has_no_end_is_not_read(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(SysmolError, match=r"it is no file|no cifar10|expected|cannot read"):
        data.load("mnist" if "idx" in name else "cifar10")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_files(name: str) -> None:
    if "SYSMOL_DATA" not in os.environ:
        pytest.skip("SYSMOL_DATA names no folder with the real data sets")
    found = data.load(name)
    assert len(found.test_images) == 10_000 and np.bincount(found.test_labels).min() > 800
    assert len(found.train_images) in (50_000, 60_000)
