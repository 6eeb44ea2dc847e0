"""Image data sets as unsigned bytes: the bundled digits, MNIST and CIFAR-10 from the folder in SYSMOL_DATA, arrays of
the user's.

Every loader gives a :class:`Dataset` of u8 images ``[n, H, W, C]`` and int64 labels ``[n]``. Networks see the
pixel x as the real number ``(x - 128) / 64`` (:func:`to_real`), so that the signed byte ``x - 128`` is exact, unless a
user's own normalisation says otherwise.
"""

from __future__ import annotations

import io
import math
import pickle
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from sysmol import environment
from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.network import Normalisation
from sysmol.train.frontend.npz import read_arrays
from sysmol.train.frontend.unpacking import read_bytes
from sysmol.train.frontend.user_files import is_data, label

USUAL = Normalisation()
"""What pixels stand for unless a user says otherwise."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Dataset:
    """A split data set; images are uint8 ``[n, H, W, C]``, labels int64 ``[n]``."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    source: str
    normalisation: Normalisation = USUAL
    """What pixels stand for."""

    def real(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Images of this data set, u8 ``[n, H, W, C]``, as networks see them (:func:`to_real`)."""
        return to_real(images, self.normalisation)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.train_images.shape[1:]
        return int(height), int(width), int(channels)


def to_real(images: np.ndarray | torch.Tensor, normalisation: Normalisation = USUAL) -> torch.Tensor:
    """u8 ``[n, H, W, C]`` to the float32 ``[n, C, H, W]`` that networks are trained on: ``(x - 128) / 64``, or what a
    ``normalisation`` of one's own says."""
    tensor = torch.as_tensor(images).permute(0, 3, 1, 2).float()
    mean, scale = (torch.tensor(each).view(-1, 1, 1) for each in normalisation.of_channels(tensor.shape[1]))
    # contiguous() would leave a single channel the strides of [n, H, W, C], which PyTorch's convolutions misread.
    return (tensor - mean).mul_(scale).clone(memory_format=torch.contiguous_format)


def load(name: str) -> Dataset:
    """The data set of that name: ``digits``, ``mnist``, ``cifar10``, or a file of :func:`load_npz`."""
    if is_data(name):
        return load_npz(name)
    loaders = {"digits": load_digits, "mnist": load_mnist, "cifar10": load_cifar10}
    if name not in loaders:
        raise SysmolError(f"unknown data set '{name}': choose one of {', '.join(loaders)}, or a .npz file of yours")
    return loaders[name]()


MARKERS = {
    "mnist": ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"),
    "cifar10": (
        "data_batch_1.bin",
        "cifar-10-batches-bin",
        "data_batch_1",
        "cifar-10-batches-py",
        "cifar-10-binary.tar.gz",
        "cifar10_jpeg_packed.bin.xz",
        "cifar10_jpeg_packed.bin",
    ),
}
"""Data sets in SYSMOL_DATA, each with the files and folders of which one tells that it is there."""


def source_files(name: str) -> tuple[Path, ...]:
    """The files that :func:`load` reads for a data set; none for the digits, which scikit-learn brings."""
    if is_data(name):
        return (Path(name),)
    if name == "mnist":
        folder = data_folder("mnist")
        return tuple(_idx_path(folder, stem) for stem in _MNIST_STEMS)
    return _cifar10_files(data_folder("cifar10")) if name == "cifar10" else ()


MOST_CLASSES = 65_536
"""Of a data set: as many logits has a network."""
NPZ_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def load_npz(path: str | Path) -> Dataset:
    """A user's own data: ``train_images`` and ``test_images``, u8 ``[n, H, W, C]`` or ``[n, H, W]``; ``train_labels``
    and ``test_labels``, whole numbers ``[n]`` from 0; optional ``classes``, the names of the labels, and ``mean`` and
    ``std`` (:func:`normalised`), one number each or one per channel.
    """
    source = f"{Path(path).name}, SHA-256 {sha256_file(path)[:12]}"
    found = read_arrays(path, (*NPZ_ARRAYS, "classes", "mean", "std"))
    for key in NPZ_ARRAYS:
        if key not in found:
            raise SysmolError(f"{path} has no array {key}: it needs {', '.join(NPZ_ARRAYS)}")
    images, labels = {}, {}
    for split in ("train", "test"):
        images[split] = npz_images(found[f"{split}_images"], f"{path}: {split}_images")
        labels[split] = _npz_labels(found[f"{split}_labels"], len(images[split]), f"{path}: {split}_labels")
    shapes = [list(each.shape[1:]) for each in images.values()]
    if shapes[0] != shapes[1]:
        raise SysmolError(f"{path}: images are {shapes[0]} for training and {shapes[1]} for the test")
    count = int(max(each.max() for each in labels.values())) + 1
    names = found.get("classes", np.arange(count)).ravel()
    if len(names) > MOST_CLASSES:
        raise SysmolError(f"{path} names {len(names)} classes; there are at most {MOST_CLASSES}")
    classes = tuple(str(each) for each in names)
    if len(classes) < count:
        raise SysmolError(f"{path}: a label is {count - 1}, but there are {len(classes)} classes")
    data = Dataset(
        label(str(path)), images["train"], labels["train"], images["test"], labels["test"], classes, source
    )  # fmt: skip
    if "mean" not in found and "std" not in found:
        return data
    for key in ("mean", "std"):
        if key not in found or found[key].dtype.kind not in "fiu" or found[key].ndim > 1:
            raise SysmolError(f"{path}: mean and std belong together, each a number or one per channel")
    mean, deviation = (tuple(float(each) for each in np.atleast_1d(found[key])) for key in ("mean", "std"))
    return normalised(data, unit_normalisation(mean, deviation, str(path)))


def npz_images(found: np.ndarray, where: str) -> np.ndarray:
    if found.dtype != np.uint8 or found.ndim not in (3, 4) or 0 in found.shape:
        raise SysmolError(f"{where} must be u8 [n, H, W, C] or [n, H, W], not {found.dtype} {list(found.shape)}")
    return np.ascontiguousarray(found if found.ndim == 4 else found[..., None])


def _npz_labels(found: np.ndarray, count: int, where: str) -> np.ndarray:
    if found.dtype.kind not in "iu" or found.shape != (count,):
        raise SysmolError(f"{where} must be {count} whole numbers, not {found.dtype} {list(found.shape)}")
    if found.min() < 0:
        raise SysmolError(f"{where}: a label is {found.min()}; classes count from 0")
    if found.max() >= MOST_CLASSES:
        raise SysmolError(f"{where}: a label is {found.max()}; there are at most {MOST_CLASSES} classes")
    return found.astype(np.int64)


def unit_normalisation(mean: Sequence[float], deviation: Sequence[float], where: str) -> Normalisation:
    """Pixels as ``(x / 255 - mean[c]) / deviation[c]``, the way in which torchvision states it; errors begin with
    ``where`` the numbers come from."""
    try:
        return Normalisation.of_unit_range(tuple(mean), tuple(deviation))
    except SysmolError as error:
        raise SysmolError(f"{where}: {str(error).removeprefix('network: ')}") from None


def normalised(data: Dataset, normalisation: Normalisation | None) -> Dataset:
    """The data set with pixels that stand for something else; None leaves it as it is."""
    if normalisation is None:
        return data
    normalisation.of_channels(data.shape[2])
    return replace(data, normalisation=normalisation)


def load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten 8x8 digits; a fixed, shuffled split of 1,437 for training and 360 for the test.

    Pixels 0..16 are stretched to 0..255.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(1797).permutation(len(images))
    test, train = order[:360], order[360:]
    return Dataset(
        "digits", images[train], labels[train], images[test], labels[test],
        tuple(str(digit) for digit in range(10)), "scikit-learn load_digits (8x8, bundled)",
    )  # fmt: skip


_MNIST_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load_mnist() -> Dataset:
    """MNIST from its four standard idx files, plain or ``.gz``, in SYSMOL_DATA or its folder ``mnist``."""
    folder = data_folder("mnist")
    parts = [_read_idx(folder, stem) for stem in _MNIST_STEMS]
    train_images, train_labels, test_images, test_labels = parts
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise SysmolError(f"MNIST in {folder}: image and label files do not belong together")
    return Dataset(
        "mnist", train_images[..., None], train_labels.astype(np.int64), test_images[..., None],
        test_labels.astype(np.int64), tuple(str(digit) for digit in range(10)), "MNIST idx files",
    )  # fmt: skip


def load_cifar10() -> Dataset:
    """CIFAR-10 from SYSMOL_DATA or its folder ``cifar10``.

    Understood, in this order: the binary version's batches (``data_batch_1.bin`` .. ``test_batch.bin``), the Python
    version's (``data_batch_1`` ..), either also inside the folder that its archive unpacks to, the binary archive
    itself, and the packed JPEG file ``cifar10_jpeg_packed.bin[.xz]`` (label u8, length u16 little-endian, JPEG;
    50,000 for training, then 10,000 for the test).
    """
    folder = data_folder("cifar10")
    for sub in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if (sub / "data_batch_1.bin").is_file():
            batches = {name: read_bytes(sub / name, CIFAR10_BATCH) for name in _binary_names()}
            return _cifar10_binary(batches, f"binary batches in {sub.name}")
        if (sub / "data_batch_1").is_file():
            return _cifar10_python(sub)
    archive = folder / "cifar-10-binary.tar.gz"
    if archive.is_file():
        return _cifar10_binary(_read_archive(archive), archive.name)
    for name in ("cifar10_jpeg_packed.bin.xz", "cifar10_jpeg_packed.bin"):
        if (folder / name).is_file():
            return _cifar10_packed(folder / name)
    raise SysmolError(
        f"no CIFAR-10 files in {folder}: expected the binary batches, the Python batches or the packed JPEG"
    )


def data_folder(name: str) -> Path:
    """The folder of a data set of :data:`MARKERS`: SYSMOL_DATA/name or SYSMOL_DATA; :class:`SysmolError` where it is
    in neither.
    """
    markers = MARKERS[name]
    root = environment.read("SYSMOL_DATA")
    if not root:
        raise SysmolError(
            f"{name} is not bundled: set SYSMOL_DATA to the folder that holds its files (or a subfolder {name}/)"
        )
    for folder in (Path(root) / name, Path(root)):
        if any((folder / marker).exists() for marker in markers):
            return folder
    raise SysmolError(
        f"no {name} files under SYSMOL_DATA={root}: expected {markers[0]} or another standard form there or in {name}/"
    )


MOST_IDX = 64 << 20
"""Bytes of an idx file: MNIST's largest has 47,040,016."""
CIFAR10_RECORD = 1 + 3 * 32 * 32
CIFAR10_BATCH = 10_000 * CIFAR10_RECORD
"""Bytes of a batch of the binary version."""
CIFAR10_ARCHIVE = 6 * CIFAR10_BATCH + (1 << 20)
"""Bytes of the binary version's archive, unpacked, at most."""
CIFAR10_PICKLE = 2 * CIFAR10_BATCH
"""Bytes of a batch of the Python version, at most: it holds names of files as well."""
CIFAR10_PACKED = 128 << 20
"""Bytes of all packed JPEG files, at most: more than CIFAR-10's have without loss."""


def _idx_path(folder: Path, stem: str) -> Path:
    """The file, plain or compressed."""
    plain = folder / stem
    return plain if plain.is_file() else folder / f"{stem}.gz"


def _read_idx(folder: Path, stem: str) -> np.ndarray:
    """One idx file of unsigned bytes, of any rank."""
    path = _idx_path(folder, stem)
    data = read_bytes(path, MOST_IDX)
    rank = data[3] if len(data) > 4 else 0
    header = 4 + 4 * rank
    if len(data) < header or data[:3] != b"\0\0\x08" or rank not in (1, 3):
        raise SysmolError(f"{path} is not an idx file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4))
    if len(data) != header + math.prod(shape):
        raise SysmolError(f"{path} is truncated: {len(data)} bytes for shape {shape}")
    return np.frombuffer(data, np.uint8, -1, header).reshape(shape).copy()


def _cifar10_files(folder: Path) -> tuple[Path, ...]:
    """The files of the form that :func:`load_cifar10` takes."""
    for sub in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        for suffix in (".bin", ""):
            if (sub / f"data_batch_1{suffix}").is_file():
                return tuple(sub / name.replace(".bin", suffix) for name in _binary_names())
    packed = (folder / name for name in MARKERS["cifar10"][4:])
    return tuple(path for path in packed if path.is_file())[:1]


def _binary_names() -> list[str]:
    return [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


def _cifar10_binary(files: dict[str, bytes], source: str) -> Dataset:
    """Records of label u8 and 3 planes of 32 x 32."""
    images, labels = [], []
    for name in _binary_names():
        data = files.get(name)
        if data is None or len(data) != CIFAR10_BATCH:
            raise SysmolError(f"CIFAR-10: {name} is missing or truncated (expected {CIFAR10_BATCH:,} bytes)")
        records = np.frombuffer(data, np.uint8).reshape(10_000, CIFAR10_RECORD)
        labels.append(records[:, 0])
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return _cifar10(np.concatenate(images), np.concatenate(labels), source)


def _read_archive(path: Path) -> dict[str, bytes]:
    """The batches in an archive; other members are passed over."""
    files: dict[str, bytes] = {}
    content = io.BytesIO(read_bytes(path, CIFAR10_ARCHIVE))
    try:
        with tarfile.open(fileobj=content, mode="r:") as archive:
            for member in archive:
                name = Path(member.name).name
                if not member.isfile() or name not in _binary_names() or member.size > CIFAR10_BATCH:
                    continue
                stream = archive.extractfile(member)
                assert stream is not None  # it is a file
                files[name] = stream.read(CIFAR10_BATCH)
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        raise SysmolError(f"{path} is not a whole tar archive: fetch it again") from error
    return files


class _PlainUnpickler(pickle.Unpickler):
    """Loads the Python batches' dictionaries of arrays; refuses every class but NumPy's array machinery."""

    _allowed: ClassVar[set[tuple[str, str]]] = {
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy.core", "numpy._core")  # the old name, in which the published files are written
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a CIFAR-10 batch")
        return _latin1 if module == "_codecs" else super().find_class(module, name)


def _latin1(text: str, encoding: str) -> bytes:
    """What stands for ``_codecs.encode`` in pickles of bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding!a:.40} is not part of a CIFAR-10 batch")
    return text.encode("latin1")


def _cifar10_python(folder: Path) -> Dataset:
    images, labels = [], []
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        try:
            content = read_bytes(folder / name, CIFAR10_PICKLE)
            batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
            data, found = batch[b"data"], np.asarray(batch[b"labels"])
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.size != 10_000 * 3072:
                raise ValueError("no 10,000 images of 3,072 bytes")
            if found.shape != (10_000,) or found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 9:
                raise ValueError("no 10,000 labels from 0 to 9")
            images.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(found.astype(np.uint8))
        except SysmolError:
            raise
        except Exception as error:  # whatever the file makes of the few things that it may name
            why = ascii(str(error)[:200])[1:-1] or type(error).__name__
            raise SysmolError(f"{folder / name} is not a CIFAR-10 Python batch: {why}") from error
    return _cifar10(np.concatenate(images), np.concatenate(labels), f"Python batches in {folder.name}")


def _cifar10_packed(path: Path) -> Dataset:
    from PIL import Image, UnidentifiedImageError

    data = read_bytes(path, CIFAR10_PACKED)
    try:
        images = np.empty((60_000, 32, 32, 3), np.uint8)
        labels = np.empty(60_000, np.uint8)
        count = 0
        for label, jpeg in _packed_records(data):
            labels[count] = label
            image = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
            if image.size != (32, 32):  # before it is decoded
                raise ValueError(f"image {count} has {image.size[0]} x {image.size[1]} pixels")
            images[count] = np.asarray(image.convert("RGB"))
            count += 1
    except (UnidentifiedImageError, OSError, ValueError, IndexError, SyntaxError) as error:
        raise SysmolError(f"{path} is not a whole packed CIFAR-10 file: {error}") from error
    if count != 60_000:
        raise SysmolError(f"{path} holds {count} images instead of 60,000")
    return _cifar10(images, labels, "packed JPEG (quality 75: accuracies are not comparable with the originals')")


def _packed_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position + 1 : position + 3], "little")
        record = data[position + 3 : position + 3 + length]
        if len(record) != length or not length:
            raise ValueError(f"record at byte {position} is truncated")
        yield data[position], record
        position += 3 + length


def _cifar10(images: np.ndarray, labels: np.ndarray, source: str) -> Dataset:
    labels = labels.astype(np.int64)
    if labels.max() > 9:
        raise SysmolError(f"CIFAR-10 ({source}): a label is above 9")
    return Dataset(
        "cifar10", np.ascontiguousarray(images[:50_000]), labels[:50_000], np.ascontiguousarray(images[50_000:]),
        labels[50_000:], CIFAR10_CLASSES, source,
    )  # fmt: skip
