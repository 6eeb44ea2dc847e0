"""Modules random in all that a forward() may hold, under random policies: what is exported computes what the module
does, and PyTorch's integers, the file, the reference and C give the same numbers.

SYSMOL_TEST_NETWORKS of them (`make test-networks`); a few by default. Every fifth is compiled, with sanitizers.
"""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from layerwise import Layerwise, check_calibration
from networks import frozen, random_images, ready
from random_modules import RandomModule, random_policy

from sysmol.kernels_c.build import compile_program, run_executable
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import Network, Normalisation, load, reference, save
from sysmol.train.frontend.data import USUAL, to_real
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import Prepared

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "15"))
SANITISERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")


def made(number: int, policy: Policy | None = None) -> tuple[RandomModule, Prepared, torch.Tensor, torch.Tensor]:
    """Module, rounded network, images u8 ``[n, H, W, C]``, and as real numbers."""
    rng = np.random.default_rng(number)
    torch.manual_seed(number)
    module = RandomModule(rng).eval()
    images = random_images(number, 6, module.image)
    chosen = random_policy(rng) if policy is None else policy
    patterns = str(rng.choice(["P4", "P45"]))
    normalisation = USUAL
    if rng.random() < 0.5:
        mean, scale = rng.uniform(0, 255, module.channels), rng.uniform(0.002, 0.05, module.channels)
        normalisation = Normalisation(tuple(map(float, mean)), tuple(map(float, scale)))
    promote = bool(rng.random() < 0.5)
    prepared = frozen(module, images, chosen, number, patterns, promote, normalisation, module.lines)
    return module, prepared, images, to_real(images, normalisation)


def in_c(net: Network, images: np.ndarray, folder: Path, options: tuple[str, ...]) -> np.ndarray:
    target = TARGETS["host"]
    program = generate(net, target, "net.host", "a test")
    executable, _ = compile_program(program, "net.host", folder, find_compiler(target), target, options)
    return run_executable([str(executable)], images, net.classes, "float32" if net.is_float else "int32")


def same(a: np.ndarray, b: np.ndarray, real: bool) -> bool:
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())) if real else np.array_equal(a, b)


def test_all_give_the_same_integers(tmp_path: Path, seed: int) -> None:
    kinds, operations, bits = set(), set(), set()
    for number in range(seed, seed + COUNT):
        module, prepared, images, real = made(number)
        net = export(prepared, f"module{number}", real)
        assert net.samples is not None and np.array_equal(net.samples.images, images.numpy())
        loaded, pixels = load(save(tmp_path / "a.network.safetensors", net)), images.numpy()
        logits = integer.evaluate(net, pixels)
        assert same(integer.evaluate(loaded, pixels), logits, False), f"module {number}: file"
        assert same(reference.evaluate(loaded, pixels[:1]), logits[:1], net.is_float), f"module {number}: reference"
        for options in (("-O0",), SANITISERS) if number % 5 == 0 else ():
            assert same(in_c(loaded, pixels, tmp_path, options), logits, net.is_float), f"module {number}: C {options}"
        kinds |= {*module.kinds, "lines" if module.lines else "images"}
        operations |= {layer.op for layer in net.layers} | {"dilated" for la in net.layers if la.dilation != (1, 1)}
        bits |= set(prepared.bits.values())
    if COUNT >= 100:
        assert kinds >= {*RandomModule.MAKERS, "lines", "images"}, kinds
        assert operations >= {"conv2d", "depthwise", "rescale", "upsample", "maxpool", "avgpool", "dilated"}, operations
        assert bits == {"learned", 4, 2, 1, 8, 32}


@pytest.mark.parametrize("number", range(2))
def test_full_precision_is_what_the_module_computes(number: int, seed: int) -> None:
    module, prepared, images, real = made(seed + number, Policy(32, edges=32))
    # Batch normalisation got other statistics after the module was made: those count.
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval()(real.squeeze(2) if module.lines else real).numpy()
    logits = integer.evaluate(export(prepared, "module", real), images.numpy())
    assert np.abs(logits - wanted).max() <= 1e-3 * np.abs(wanted).max(), module.kinds


def test_every_layer_is_what_the_rounded_module_computes(seed: int) -> None:
    """However noise grows from layer to layer: each alone, from the integers that it reads (:mod:`layerwise`)."""
    for number in range(seed, seed + max(COUNT // 3, 2)):
        for policy in (None, Policy(8)):
            _, prepared, images, real = made(number, policy)
            if not prepared.is_float:
                check_calibration(prepared, real)
                Layerwise(prepared, real, images[:2].numpy()).check()


@pytest.mark.parametrize("policy", ["int8", "mixed"])
@pytest.mark.parametrize("fault", ["M", "B", "calibration"])
def test_wrong_layers_are_seen(policy: str, fault: str, seed: int) -> None:
    prepared, images = ready("mixture", policy, seed)
    real = to_real(images)
    if fault == "calibration":
        with torch.no_grad():
            for activation in prepared.activations.children():
                activation.log_scale.sub_(0.5)
        with pytest.raises(AssertionError, match="off by"):
            check_calibration(prepared, real)
        return
    found = Layerwise(prepared, real, images[:2].numpy())
    for layer in found.net.layers:
        for out in layer.outputs:
            if fault == "M":
                out.M = (out.M * 0.9).astype(out.M.dtype)
            else:
                out.B = out.B + (2 << out.shift)
    with pytest.raises(AssertionError):
        found.of_file(images[:2].numpy()).check()
