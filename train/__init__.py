"""From a user's ``nn.Module`` to a network file: front end, quantisation, whole trainings."""

from typing import Any

if __name__ == "train":  # found beside the working directory, not through the package
    raise ImportError("train is now sysmol.train: import that")


def __getattr__(name: str) -> Any:
    """:func:`sysmol.train.quantise.prepared.prepare`, imported (with PyTorch) when it is asked for."""
    if name == "prepare":
        from sysmol.train.quantise.prepared import prepare

        return prepare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
