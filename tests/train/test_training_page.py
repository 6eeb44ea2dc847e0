"""The Python path of docs/training.md, as the page has it, ends in a file that can be verified."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sysmol.files import PACKAGE
from sysmol.network import load, reference
from sysmol.train.frontend.data import load as load_data
from sysmol.train.frontend.models import build
from sysmol.train.quantise import trainer

Run = Callable[..., tuple[int, str, str]]
PAGE = PACKAGE.parent / "docs" / "training.md"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the page's program writes; epochs are one each, of a few images."""
    text = next(iter(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "Phase", functools.partial(trainer.Phase, limit=128))
    torch.manual_seed(0)
    program = re.sub(r"epochs=\d+", "epochs=1", text)
    assert program.count("epochs=1") == 2
    exec(compile(program, str(PAGE), "exec"), {"my_module": build("digits_net", 1, 10)})
    return tmp_path / "mine.network.safetensors"


def test_the_page_s_program(made: Path, run: Run) -> None:
    net, data = load(made), load_data("digits")
    assert net.samples is not None and len(net.samples.images) == 16
    assert np.array_equal(net.samples.images, data.train_images[:16])
    assert np.array_equal(net.samples.labels, data.train_labels[:16])
    assert np.array_equal(reference.evaluate(net, net.samples.images[:2]), net.samples.logits[:2])
    folder = made.parent
    assert run("compile", made, "--isa", "host", "--out", folder / "bin")[0] == 0
    status, said, _ = run("verify", folder / "bin" / "mine.host.json")
    assert status == 0 and "all sample images have the stored logits" in said
