"""A user's module made ready for SMOL: noise with learned precisions, freezing, fine-tuning (docs/training.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.network import Normalisation
from sysmol.patterns.selection import Demand, tensor_demand
from sysmol.patterns.slots import Cover
from sysmol.train.frontend.data import USUAL
from sysmol.train.frontend.equivalence import as_float, check_equal
from sysmol.train.frontend.policy import LEARNED, Policy, named_policy
from sysmol.train.frontend.trace import trace
from sysmol.train.quantise.allocate import allocate, learned_scores
from sysmol.train.quantise.calibration import calibrate
from sysmol.train.quantise.flattening import flatten_images
from sysmol.train.quantise.forward import ForwardPass
from sysmol.train.quantise.modes import FROZEN, NOISE, OFFSET
from sysmol.train.quantise.quantiser import nearest_precision, precision_of


class Prepared(ForwardPass):
    """The network of :func:`prepare`: an ``nn.Module`` from real images ``[n, C, H, W]`` to logits ``[n, classes]``.

    ``mode`` says what the forward pass computes. The usual order is :meth:`calibrate`, :meth:`start_noise`, training
    with :meth:`size_penalty`, :meth:`freeze`, :meth:`calibrate`, training, export.
    """

    def calibrate(self, images: torch.Tensor) -> None:
        """First guesses of all scales and offsets from real images ``[n, C, H, W]``, the present precisions and
        weights; in full precision, or with noise during phase 1.

        In training mode batch normalisation uses the statistics of the images, as the next step of training will; in
        evaluation mode the running ones, as the exported network does.
        """
        calibrate(self, images)

    def start_noise(self) -> None:
        """Phase 1: scales stand still, weights, batch normalisation and precisions learn."""
        if not any(d.bits == LEARNED for d in self.all_domains()):
            raise SysmolError("the policy learns no precision: use 'mixed', or fine-tune at once")
        self.mode = NOISE

    def freeze(
        self,
        bits: float | None = None,
        cost: float | None = None,
        patterns: Sequence[int] | None = None,
        scores: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Phase 2: round the learned precisions and lay them out in patterns.

        ``bits``, ``cost``: limits of the stored bits per parameter (:func:`sysmol.train.quantise.allocate.stored_bits`)
        and of the cost of all vectors (:func:`sysmol.train.quantise.allocate.vector_cost`). ``patterns``: ids that the
        hardware supports from now on. ``scores``: real-valued precisions ``[C]`` by learned domain instead of the
        trained ones.
        """
        if patterns is not None:
            self.supported = tuple(patterns)
        chosen = allocate(self, self.supported, learned_scores(self) if scores is None else scores, bits, cost)
        self.lay_out(chosen)

    def lay_out(self, covers: Mapping[str, Cover]) -> None:
        """Phase 2 in these layouts, by learned domain: what :meth:`freeze` ends with, for layouts from elsewhere."""
        for name, domain in self.learned_domains().items():
            domain.place(covers[name])
        self.mode = FROZEN

    def demands(
        self, scores: Mapping[str, torch.Tensor] | None = None, gains: Mapping[str, torch.Tensor] | None = None
    ) -> list[Demand]:
        """What every learned domain asks of a set of patterns, for :func:`sysmol.patterns.selection.choose`; one with
        groups asks for each of them, whose vectors are its own.

        ``scores`` as in :meth:`freeze`; ``gains``: loss that one more bit saves per channel
        (:func:`sysmol.train.quantise.allocate.sensitivity`), by domain. A vector costs what :attr:`costs` say.
        """
        costs = self.domain_costs()
        found = []
        for name, real in (learned_scores(self) if scores is None else scores).items():
            groups = self.learned_domains()[name].groups
            gain = torch.zeros_like(real) if gains is None else gains[name]
            for number, (own, slopes) in enumerate(zip(real.chunk(groups), gain.chunk(groups), strict=True)):
                precisions = nearest_precision(own)
                c4, c2, c1 = (int((precisions == p).sum()) for p in PRECISIONS)
                by_two, by_one = (
                    max(float(slopes[precisions == p].mean()), 0.0) if n else 0.0 for p, n in ((2, c2), (1, c1))
                )
                label = name if groups == 1 else f"{name}/{number}"
                saved = (2 * by_two, 3 * by_one, by_one)
                found.append(tensor_demand(label, (c4, c2, c1), costs[name], saved, groups))
        return found

    def size_penalty(self) -> torch.Tensor:
        """``sum n_c log2(1 + e**-s_c) / sum n_c`` over input channels: mean learned bits minus 1, every channel
        weighted by what a register of such channels costs (:attr:`costs`), without costs by the weights that read it.
        """
        total, count = torch.zeros(()), 0.0
        for unit, name in self.smol_reads():
            domain, cost = self.domain(name), self.penalty_weight(unit)
            if domain.bits == LEARNED:
                weights = self.weight_domain(unit) if unit.has_weights else domain
                for each in (domain, weights):
                    total = total + cost / 2 * (precision_of(each.noise()) - 1).sum()
                count += cost * len(domain.s)
        return total / max(count, 1e-9)

    def mean_bits(self) -> float:
        """Mean bits per weight of the SMOL layers: learned (phase 1) or frozen."""
        total = count = 0.0
        for unit in self.smol_convolutions():
            assert unit.input is not None
            domain, weights = self.domain(unit.input.unit), self.weights_per_channel(unit)
            learned = self.mode == NOISE and domain.bits == LEARNED
            p = precision_of(domain.s.detach()) if learned else domain.precisions.float()
            total += weights * float(p.sum())
            count += weights * len(p)
        return total / count if count else 8.0


def prepare(
    model: nn.Module,
    example_input: torch.Tensor,
    policy: Policy | str = "mixed",
    pattern_set: str | Sequence[int] = "P4",
    grid: str = OFFSET,
    normalisation: Normalisation | tuple[Sequence[float], Sequence[float]] = USUAL,
) -> Prepared:
    """Make a module ready for SMOL, in the module's mode (training or evaluation); the module itself is not changed,
    its weights are copied.

    ``example_input`` is a real image batch ``[n, C, H, W]`` (:func:`sysmol.train.frontend.data.to_real`), ``policy`` a
    :class:`Policy` or one of mixed, w4, w2, w1, int8, fp32, ``pattern_set`` the patterns that the hardware supports:
    P4, P8, P45 or ids, ``grid`` one of :data:`sysmol.train.quantise.modes.GRIDS`. ``normalisation`` says how the real
    images come from pixels x, ``(x - mean[c]) * scale[c]``: a :class:`sysmol.network.Normalisation`, or its mean and
    scale, of one number or one per channel each. A layer that cannot be exported
    raises one :class:`SysmolError` that names it, and so does a module whose logits on the example images the prepared
    network does not have in full precision.
    """
    graph = trace(model, example_input)
    bits = named_policy(policy).bits(graph)
    graph = flatten_images(graph, bits)
    if not isinstance(normalisation, Normalisation):
        normalisation = Normalisation(*(tuple(float(v) for v in each) for each in normalisation))
    prepared = Prepared(graph, bits, resolve_patterns(pattern_set), grid, normalisation)
    check_equal(as_float(model), prepared.eval(), example_input, graph.dropped)
    return prepared.train(model.training)


def resolve_patterns(pattern_set: str | Sequence[int]) -> tuple[int, ...]:
    """Pattern ids of a named set, or the ids themselves."""
    if not isinstance(pattern_set, str):
        return tuple(int(i) for i in pattern_set)
    from sysmol.machine import pattern_set as named

    return tuple(named(pattern_set))
