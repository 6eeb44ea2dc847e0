"""Networks that the package has never seen, written as their users would: prepared, exported, and computed to the same
integers by PyTorch, the reference and C."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import frozen, random_images
from torch import nn

from sysmol.errors import SysmolError
from sysmol.kernels_c.build import compile_program, run_executable
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.machine import pattern_set
from sysmol.network import Network, load, reference, save
from sysmol.packing import slot_precisions
from sysmol.pattern import capacity
from sysmol.patterns.slots import cover
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.policy import Policy
from sysmol.train.frontend.trace import trace
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import Prepared, prepare

# --- torchvision's style ---------------------------------------------------------------------------------------------


def conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)


class BasicBlock(nn.Module):
    def __init__(
        self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, planes, stride, groups)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """Odd widths; groups in the last stage; the last two stages' averages are concatenated."""

    def __init__(self, widths: tuple[int, ...] = (9, 14, 21, 30), classes: int = 7) -> None:
        super().__init__()
        self.inputs = widths[0]
        self.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(widths[0], 1)
        self.layer2 = self._make_layer(widths[1], 2)
        self.layer3 = self._make_layer(widths[2], 2)
        self.layer4 = self._make_layer(widths[3], 2, groups=3)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[2] + widths[3], classes)

    def _make_layer(self, planes: int, stride: int, groups: int = 1) -> nn.Sequential:
        downsample = None
        if stride != 1 or self.inputs != planes:
            downsample = nn.Sequential(nn.Conv2d(self.inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
        blocks = [BasicBlock(self.inputs, planes, stride, downsample, groups), BasicBlock(planes, planes)]
        self.inputs = planes
        return nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        third = self.layer3(x)
        fourth = self.layer4(third)
        x = torch.cat([self.avgpool(third), self.avgpool(fourth)], dim=1)
        return self.fc(torch.flatten(x, 1))


class ConvNormActivation(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int, groups: int = 1) -> None:
        super().__init__()
        hidden = inputs * expand
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(ConvNormActivation(inputs, hidden, kernel=1))
        layers += [
            ConvNormActivation(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Odd widths; a block whose projection has groups; the head reads two scales side by side."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        settings = ((1, 9, 1, 1), (3, 11, 2, 2), (2, 15, 2, 1), (3, 21, 1, 2))
        self.stem = ConvNormActivation(3, 10, stride=2)
        stages, inputs = [], 10
        for expand, outputs, repeats, stride in settings:
            blocks = []
            for number in range(repeats):
                groups = 3 if outputs == 15 and inputs == 15 else 1
                blocks.append(InvertedResidual(inputs, outputs, stride if number == 0 else 1, expand, groups))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AvgPool2d(2)
        self.head = ConvNormActivation(15 + 21, 37, kernel=1)
        self.classifier = nn.Sequential(nn.Dropout(p=0.2), nn.Linear(37, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        x = self.head(torch.cat((self.pool(found[2]), found[3]), 1))
        return self.classifier(x.mean([2, 3]))


class DenseNet(nn.Module):
    """Batch normalisation of concatenations, concatenations of concatenations, pools and depthwise layers over them,
    functions instead of modules, and a subclass."""

    class Narrow(nn.Conv2d):
        """A subclass that computes what its base computes."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(10 + 6 * i) for i in range(2)])
        self.layers = nn.ModuleList([self.Narrow(10 + 6 * i, 6, 3, padding=1, bias=i == 1) for i in range(2)])
        self.depthwise = nn.Conv2d(22, 22, 3, stride=2, padding=1, groups=22)
        self.after = nn.BatchNorm2d(22)
        self.grouped = nn.Conv2d(44, 22, 1, groups=22)
        self.mix = nn.Conv2d(22, 22, (2, 3), padding=(0, 1))
        self.fc1 = nn.Linear(22 * 2 * 4 + 22, 19)
        self.bn1 = nn.BatchNorm1d(19)
        self.fc2 = nn.Linear(19, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = torch.cat([x, layer(F.relu(norm(x)))], 1)
        y = F.hardtanh(self.after(self.depthwise(x)), 0.0, 6.0)
        z = self.grouped(torch.concat([F.max_pool2d(x, 2, ceil_mode=False), F.avg_pool2d(x, 2)], dim=1))
        x = F.dropout2d(torch.clamp(self.mix(F.relu(y)), min=0), 0.1, self.training)
        flat = torch.cat([torch.flatten(F.relu(F.max_pool2d(F.max_pool2d(x, 1), 1)), 1), z.mean((2, 3))], 1)
        return self.fc2(F.relu(self.bn1(self.fc1(flat))))


class Holes(nn.Module):
    """Taps that are pixels apart, and weights of exactly 0: groups across the parts of a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.dilated = nn.Conv2d(8, 10, 3, padding=2, dilation=2)
        self.across = nn.Conv2d(18, 12, 3, padding=1, groups=3)
        self.body = nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.across(torch.cat([x, self.dilated(x)], 1)))
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.body(x)), 1).flatten(1))


class Random(nn.Module):
    """A random network of convolutions with groups, residuals, concatenations, pools and normalisations."""

    def __init__(self, rng: np.random.Generator, steps: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        widths, whole = [6], [True]  # of the tensors so far: channels, and that they are no concatenation for sure
        self.plan: list[tuple[str, int, int]] = []
        self.layers = nn.ModuleList()
        for _ in range(steps):
            a = max(len(widths) - int(rng.geometric(0.6)), 0)  # mostly the latest, so that few are left unread
            b = int(rng.integers(0, len(widths)))
            kind = str(rng.choice(["conv", "grouped", "depthwise", "cat", "norm", "add", "pool"]))
            layer: nn.Module = nn.Identity()
            width = widths[a]
            if kind == "conv":
                width = 6 * int(rng.integers(1, 4))
                kernel = int(rng.choice([1, 3]))
                layer = nn.Conv2d(widths[a], width, kernel, padding=kernel // 2)
            elif kind == "grouped":
                width = 6 * int(rng.integers(1, 4))
                layer = nn.Sequential(
                    nn.Conv2d(widths[a], width, 3, padding=1, groups=int(rng.choice([2, 3]))), nn.BatchNorm2d(width)
                )
            elif kind == "depthwise":
                layer = nn.Conv2d(width, width, 3, padding=1, groups=width)
            elif kind == "norm":
                layer = nn.BatchNorm2d(width)
            elif kind == "cat":
                width += widths[b]
            elif kind == "add":
                # Only concatenations of equal parts can be added: a tensor and what its own channels make.
                b = b if whole[a] else a
                layer = nn.Conv2d(widths[b], width, 1, groups=1 if whole[a] else width)
            elif kind == "pool":
                layer = nn.MaxPool2d(3, 1, 1) if rng.random() < 0.5 else nn.AvgPool2d(3, 1, 1)
            self.layers.append(layer)
            self.plan.append((kind, a, b))
            widths.append(width)
            whole.append(kind == "conv" or (kind != "cat" and whole[a]))
        self.head = nn.Conv2d(widths[-1] + widths[-2], 5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [self.stem(x)]
        for (kind, a, b), layer in zip(self.plan, self.layers, strict=True):
            if kind == "cat":
                found.append(torch.cat([found[a], found[b]], 1))
            elif kind == "add":
                found.append(F.relu(found[a]) + layer(F.relu(found[b])))
            else:
                found.append(layer(F.relu(found[a])))
        return self.head(F.relu(torch.cat(found[-2:], 1))).flatten(1)


# --- one answer ------------------------------------------------------------------------------------------------------


def agree(net: Network, images: np.ndarray, folder: Path, compiled: bool = True) -> None:
    """PyTorch's integers are those of the file in C, and for the first of the images (u8 ``[n, H, W, C]``) those of the
    reference."""
    loaded = load(save(folder / "net.safetensors", net))
    same = np.allclose if net.is_float else np.array_equal
    found, wanted = integer.evaluate(net, images), reference.evaluate(loaded, images[:1])
    assert same(found[:1], wanted), (found[:1], wanted)
    if compiled:
        target = TARGETS["host"]
        program = generate(loaded, target, "net.host", "a test")
        executable, _ = compile_program(program, "net.host", folder, find_compiler(target), target, ("-O0",))
        c = run_executable([str(executable)], images, net.classes, "float32" if net.is_float else "int32")
        assert same(found, c), (found, c)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "resnet18": (ResNet18, (32, 32, 3)),
    "mobilenetv2": (MobileNetV2, (32, 32, 3)),
    "densenet": (DenseNet, (6, 8, 3)),
    "holes": (Holes, (8, 8, 3)),
}


def made(name: str, policy: Policy | str, seed: int, promote: bool) -> tuple[nn.Module, Prepared, torch.Tensor]:
    torch.manual_seed(seed)
    make, shape = NETWORKS[name]
    module, images = make(), random_images(seed, 6, shape)
    return module, frozen(module, images, policy, seed, "P45", promote), images


@pytest.mark.parametrize("policy", [Policy(fallback=8), "fp32"], ids=["mixed", "fp32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_unseen_networks(name: str, policy: Policy | str, tmp_path: Path) -> None:
    """The seed is fixed because the last comparison is one of statistics; the random networks below have others."""
    module, prepared, images = made(name, policy, 5, promote=False)
    net = export(prepared, name, to_real(images))
    # Of the others in floating point, C has nothing that the other tests of code generation lack.
    agree(net, images[:3].numpy(), tmp_path, compiled=not net.is_float or name == "densenet")
    with torch.no_grad():
        wanted = (module.eval() if prepared.is_float else prepared)(to_real(images)).numpy()
    logits = integer.evaluate(net, images.numpy()) * net.provenance.get("logit_scale", 1.0)
    error = np.abs(wanted - logits) / np.abs(wanted).max()
    if net.is_float:
        assert error.max() < 1e-4, error.max()
        return
    assert np.median(error) < 0.02, np.median(error)
    assert np.corrcoef(wanted.ravel(), logits.ravel())[0, 1] > 0.97
    groups = {layer.groups: net.tensors[layer.input] for layer in net.layers if layer.groups > 1}
    assert name == "holes" or any(t.format == "smol" for t in groups.values()), groups
    assert name == "holes" or {1, 2, 4} == {int(p) for t in net.tensors.values() if t.patterns for p in t.precisions}


@pytest.mark.parametrize("number", range(3))
def test_random_networks(number: int, seed: int, tmp_path: Path) -> None:
    """Where an untrained layer's results hardly vary, its scales may not fit into the integers: the next is drawn."""
    for attempt in range(5):
        try:
            network_agrees(number, seed + 1000 * attempt, tmp_path)
            return
        except SysmolError as error:
            assert "do not fit 32-bit integers" in str(error) and attempt < 4


def network_agrees(number: int, seed: int, tmp_path: Path) -> None:
    draw = np.random.default_rng([seed, number])
    policy = [Policy(), Policy(edges="learned"), Policy(default=2)][number]
    policy = replace(policy, fallback=8)
    torch.manual_seed(seed + number)
    module = Random(draw, 8).eval()
    images = random_images(seed + number, 4, (5, 5, 3))
    prepared = frozen(module, images, policy, seed + number, str(draw.choice(["P4", "P45"])), bool(draw.random() < 0.5))
    with torch.no_grad():
        bare = prepare(module.eval(), to_real(images), "fp32").eval()
        assert torch.allclose(module(to_real(images)), bare(to_real(images)), atol=1e-3, rtol=1e-3), module.plan
    agree(export(prepared, "random", to_real(images)), images.numpy(), tmp_path)


def test_a_wrong_number_changes_the_answer() -> None:
    """Nothing that is compared above is without effect: the weights of a convolution with groups, the constants of a
    normalisation that rides on another layer."""
    _, prepared, images = made("densenet", "mixed", 5, promote=False)
    net = export(prepared, "densenet", to_real(images))
    some = images[:3].numpy()
    right = integer.evaluate(net, some)
    grouped = next(layer for layer in net.layers if layer.groups > 1)
    folded = next(layer for layer in net.layers if layer.name == "stem")
    constant = next(out for out in folded.outputs if out.tensor.startswith("norms")).M
    assert grouped.weight is not None and constant is not None
    for array in (grouped.weight, constant):
        before = array.copy()
        array ^= 0x77
        assert not np.array_equal(integer.evaluate(net, some), right)
        array[:] = before
    assert np.array_equal(integer.evaluate(net, some), right)


# --- what a lowering means ------------------------------------------------------------------------------------------


def test_normalisations_ride_on_what_they_normalise() -> None:
    graph = trace(DenseNet(), torch.zeros(1, 3, 6, 8))
    norms = [unit for unit in graph.units.values() if unit.op == "norm"]
    # One per part of norms.0 and norms.1; those of after ride on the depthwise convolutions; bn1 normalises a sum.
    assert sum(unit.path.startswith("norms") for unit in norms) == 1 + 2
    assert [unit.path for unit in norms if not unit.path.startswith("norms")] == ["bn1"]
    assert all(unit.bn is not None for unit in graph.units.values() if unit.op == "depthwise")


def test_a_convolution_over_a_concatenation_is_a_sum() -> None:
    graph = trace(MobileNetV2(), torch.zeros(1, 3, 32, 32))
    first, second = (unit for unit in graph.units.values() if unit.path == "head.0")
    assert second.residual is not None and second.residual.unit == first.name and first.residual is None
    assert first.weight is not None and second.weight is not None
    assert (first.weight.shape[1], second.weight.shape[1]) == (15, 21)


def test_zeros_stay_zero_in_training() -> None:
    torch.manual_seed(3)
    images = random_images(3, 6, (8, 8, 3))
    prepared = frozen(Holes(), images, Policy(fallback=8), 3)
    assert {unit.path for unit in prepared.graph.convolutions if unit.mask is not None} == {"across"}
    prepared.train()
    for _ in range(2):
        prepared.zero_grad()
        prepared(to_real(images)).square().sum().backward()
        with torch.no_grad():
            for parameter in prepared.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * (parameter.grad + 0.1 * parameter)
    for unit in prepared.graph.convolutions:
        if unit.mask is not None:
            weight = prepared.convolution(unit.name).weight
            assert bool((weight[~unit.mask] == 0).all()) and bool((weight[unit.mask] != 0).any())
    net = export(prepared.eval(), "holes", to_real(images))
    dilated = next(layer for layer in net.layers if layer.name == "dilated")
    assert dilated.kernel == (3, 3) and dilated.dilation == (2, 2)
    assert net.tensors[dilated.input].format == "smol"


def test_noise_teaches_all_precisions() -> None:
    torch.manual_seed(4)
    images = to_real(random_images(4, 6, (6, 8, 3)))
    prepared = prepare(DenseNet(), images)
    prepared.calibrate(images)
    prepared.start_noise()
    (prepared.train()(images).square().sum() + prepared.size_penalty()).backward()
    slopes = {name: domain.s.grad for name, domain in prepared.learned_domains().items()}
    slopes |= {name: norm.weight.grad for name, norm in prepared.norms.items()}  # type: ignore[union-attr,misc]
    assert len(prepared.norms) == 4
    for name, slope in slopes.items():
        assert slope is not None and bool(slope.isfinite().all()) and bool((slope != 0).any()), name


def test_every_group_asks_for_vectors_of_its_own() -> None:
    prepared = prepare(ResNet18(), torch.zeros(1, 3, 32, 32))
    prepared.start_noise()
    (grouped,) = (unit for unit in prepared.graph.convolutions if unit.groups > 1)
    assert grouped.input is not None
    name = prepared.domain_of[grouped.input.unit]
    asked = [demand for demand in prepared.demands() if demand.name.startswith(f"{name}/")]
    assert [sum(demand.counts) for demand in asked] == [7, 7, 7]
    assert {demand.cycles for demand in asked} == {prepared.domain_costs()[name]}
    prepared.freeze()
    assert len(prepared.domain(name).patterns) == 3


def test_weights_of_zero_are_refused_by_name() -> None:
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(SysmolError, match=r"'across' needs weights of exactly 0 .*Policy\(fallback=8\).* --layer a"):
        prepare(Holes(), x)
    assert prepare(Holes(), x, Policy(layers={"across": 8})).bits["dilated"] == "learned"
    assert set(prepare(Holes(), x, "fp32").bits.values()) == {32}
    with pytest.raises(SysmolError, match="fallback of 4 bits"):
        prepare(Holes(), x, Policy(fallback=4))


class Sums(nn.Module):
    """An addition of concatenations, of the same parts or of others."""

    def __init__(self, other: bool) -> None:
        super().__init__()
        self.a, self.b, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 8, 3), other
        self.fc = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        total = torch.cat([a, b], 1) + torch.cat([b, a] if self.other else [a.relu(), b.relu()], 1)
        return self.fc(total.mean((2, 3)))


def test_additions_of_concatenations() -> None:
    x = torch.randn(2, 3, 6, 6)
    module = Sums(other=False).eval()
    with torch.no_grad():
        assert torch.allclose(module(x), prepare(module, x, "fp32").eval()(x), atol=1e-5)
    with pytest.raises(SysmolError, match="adds concatenations of different parts"):
        prepare(Sums(other=True), x)


def test_covers_in_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for groups, per in ((2, 7), (3, 40), (5, 1)):
        requested = rng.choice([4, 2, 1], size=groups * per)
        for promote in (True, False):
            found = cover(requested, pattern_set("P8"), None, promote, groups)
            each = len(found.patterns) // groups
            assert each * groups == len(found.patterns) and (found.precisions >= requested).all()
            assert len(set(found.slots.tolist())) == len(requested)
            assert np.array_equal(slot_precisions(found.patterns)[found.slots], found.precisions)
            vector = np.repeat(np.arange(len(found.patterns)), [capacity(i) for i in found.patterns])[found.slots]
            assert np.array_equal(vector // each, np.repeat(np.arange(groups), per))
            alone = [cover(part, pattern_set("P8"), None, promote) for part in np.split(requested, groups)]
            assert each == max(len(one.patterns) for one in alone)
    with pytest.raises(SysmolError, match="cut into 4 groups"):
        cover(np.ones(6, dtype=int), pattern_set("P4"), groups=4)
