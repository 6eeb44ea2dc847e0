"""Modules random in attention and its companions, under random policies: what is exported computes what the module
does, and PyTorch's integers, the file, the reference and C give the same numbers.

SYSMOL_TEST_NETWORKS of them (`make test-networks`); a few by default. Every fourth is compiled, with sanitizers.
"""

import copy
import os
from pathlib import Path

import numpy as np
import torch
from networks import frozen, random_images
from random_transformers import RandomTransformer, codes_policy
from test_any_module import SANITISERS, in_c

from sysmol.network import load, reference, save
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import Prepared

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "8"))


def made(number: int, policy: Policy | None = None) -> tuple[RandomTransformer, Prepared, torch.Tensor, torch.Tensor]:
    """Module, rounded network, images u8 ``[n, H, W, C]``, and as real numbers."""
    rng = np.random.default_rng(number)
    torch.manual_seed(number)
    module = RandomTransformer(rng).eval()
    images = random_images(number, 6, module.image)
    chosen = codes_policy(rng) if policy is None else policy
    patterns, promote = str(rng.choice(["P4", "P45"])), bool(rng.random() < 0.5)
    prepared = frozen(module, images, chosen, number, patterns, promote, lines=module.lines)
    return module, prepared, images, to_real(images)


def test_all_give_the_same_integers(tmp_path: Path, seed: int) -> None:
    kinds, operations = set(), set()
    for number in range(seed, seed + COUNT):
        module, prepared, images, real = made(number)
        net = export(prepared, f"transformer{number}", real)
        assert net.samples is not None and np.array_equal(net.samples.images, images.numpy())
        loaded, pixels = load(save(tmp_path / "a.network.safetensors", net)), images.numpy()
        logits = integer.evaluate(net, pixels)
        assert np.array_equal(integer.evaluate(loaded, pixels), logits), f"module {number}: file"
        assert np.array_equal(reference.evaluate(loaded, pixels[:1]), logits[:1]), f"module {number}: reference"
        for options in (("-O0",), SANITISERS) if number % 4 == 0 else ():
            assert np.array_equal(in_c(loaded, pixels, tmp_path, options), logits), f"module {number}: C {options}"
        kinds |= {*module.kinds, "lines" if module.lines else "images"}
        operations |= {layer.op for layer in net.layers}
    if COUNT >= 100:
        assert kinds >= {*RandomTransformer.MAKERS, "lines", "images"}, kinds
        wanted = {"scores", "softmax", "attend", "layernorm", "rmsnorm", "lookup", "gate", "slice"}
        assert operations >= wanted, operations


def test_full_precision_is_the_module(seed: int) -> None:
    for number in range(seed, seed + 4):
        module, prepared, _, real = made(number, Policy(32, edges=32))
        # Batch normalisation got other statistics after the module was made: those count.
        with torch.no_grad():
            wanted = copy.deepcopy(module).eval()(real.squeeze(2) if module.lines else real)
            found = prepared(real)
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())), module.kinds
