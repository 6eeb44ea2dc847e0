"""An epilogue that stores accumulators as they are, for functions that go on from there."""

from collections.abc import Sequence

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus
from sysmol.kernels_c.plan.layout import Place


class Sums(Epilogue):
    """Accumulators into ``place``, a tensor of 32-bit elements in the kernel's blocks."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.blocks = place.blocks
        self.targets = [place]
        self.residual = None

    def arrays(self) -> list[str]:
        return []

    def emit(self, em: Emitter, tile: Tile, accumulators: Sequence[Sequence[Sequence[str]]]) -> None:
        (place,) = self.targets
        for k, block in enumerate(accumulators):
            for at, groups in zip(tile.pixels, block, strict=True):
                for g, acc in enumerate(groups):
                    where = plus("y0", self.block_at(place, tile, k), place.bytes_to(*at), 16 * g)
                    em.line(f"v_store({where}, {acc});")
