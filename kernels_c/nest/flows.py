"""Output-, weight- and input-stationary multiply-accumulates of one accumulator unit, with auxiliary stationarity."""

from itertools import product

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus, times
from sysmol.kernels_c.nest.single import UNROLL, Single, Sums, period


class SingleOutput(Single):
    """Output-stationary: one output accumulates over the whole kernel while in its register.

    Auxiliary weights (in reading order) are loaded once per unit. Auxiliary inputs are those of the ``KW - stride``
    columns that an output shares with its right neighbour; a column's register is its number modulo that count, so
    that registers rotate by renaming, in code unrolled over as many outputs.
    """

    anchor = "os"
    loops = ("y, i: outputs", "taps and input registers, unrolled")
    whole_in_registers = True

    @property
    def shared(self) -> int:
        """Columns of inputs that an output shares with its right neighbour."""
        return max(0, self.layer.kernel[1] - self.layer.stride[1])

    def body(self) -> int:
        height, width = self.layer.kernel
        return height * width * self.vectors * self.step.registers * self._unroll()

    def _unroll(self) -> int:
        return period(self.shared, self.layer.stride[1]) if self.schedule.inputs else 1

    def _slots(self) -> set[tuple[int, int, int]]:
        """Cached inputs ``(vector, kernel row, column modulo shared)``, the first that the schedule has room for."""
        height = self.layer.kernel[0]
        every = [(v, ky, slot) for v in range(self.vectors) for ky in range(height) for slot in range(self.shared)]
        return set(every[: self.schedule.inputs])

    def flow(self, em: Emitter, sums: Sums) -> None:
        height, width = self.layer.kernel
        stride = self.layer.stride[1]
        slots = self._slots()
        for n in range(self.schedule.weights):
            em.line(f"const vec w{n} = v_load({plus('w', 16 * n)});")
        pixel = stride * self.source.pixel_bytes
        with em.loop("y", self.rows):
            em.line(
                f"const uint8_t *x = x0 + {times('y', self.layer.stride[0] * self.source.row_bytes) or '0'};", scalar=2
            )
            em.line(f"uint8_t *to = acc + {times('y', sums.row)};", scalar=2)
            for v, ky, slot in sorted(slots):
                em.line(f"vec x{v}_{ky}_{slot} = v_load({plus('x', self.input_at(ky, slot, v))});")

            def output(k: int) -> None:
                with em.block():
                    self._opaque(em, "w", height * width * self.vectors)
                    em.line("vec a = v_zero();")
                    for kx in range(width):
                        for ky in range(height):
                            for v in range(self.vectors):
                                self._tap(em, slots, k, ky, kx, v)
                    if self.step.channels > 1:
                        em.line(f"v_store({plus('to', k * sums.pitch)}, a);")
                    else:
                        em.line(f"m_store32({plus('to', k * sums.pitch)}, v_hsum({self.step.partial('a')}, v_zero()));")

            self.columns(em, self.width, self._unroll(), {"x": pixel, "to": sums.pitch}, output)

    def _tap(self, em: Emitter, slots: set[tuple[int, int, int]], k: int, ky: int, kx: int, v: int) -> None:
        """All registers of one step of output ``k`` of the unrolled code."""
        column = k * self.layer.stride[1] + kx
        slot = (v, ky, column % self.shared) if self.shared else None
        load = f"v_load({plus('x', self.input_at(ky, column, v))})"
        with em.block():
            if slot in slots and kx < self.shared:
                x = f"x{v}_{ky}_{column % self.shared}"
            elif slot in slots and kx >= self.layer.stride[1]:
                x = f"x{v}_{ky}_{column % self.shared}"
                em.line(f"{x} = {load};")
            else:
                x = "x_"
                em.line(f"const vec x_ = {load};")
            for s in range(self.step.registers):
                number = self.weight_at(ky, kx, v, s) // 16
                w = f"w{number}"
                if number >= self.schedule.weights:
                    w = f"w_{s}"
                    em.line(f"const vec {w} = v_load({plus('w', 16 * number)});")
                em.line(self.step.operation(s, v, "a", w, x))


class SingleWeight(Single):
    """Weight-stationary: a step's weights stay in registers while they meet all pixels; sums go through memory.

    Auxiliary outputs are the first ones of the block of rows, in registers from the first weight to the last.
    Auxiliary inputs are pixels of the row that every kernel row meets, in registers while the taps pass by.
    """

    anchor = "ws"
    loops = ("v: input registers of a pixel", "ky, kx: taps", "y, i: outputs")

    def body(self) -> int:
        taps = self.layer.kernel[0] * self.layer.kernel[1] if self.schedule.inputs else 1
        return taps * self.step.registers * (self.schedule.inputs + self.schedule.outputs + 3 * UNROLL)

    def flow(self, em: Emitter, sums: Sums) -> None:
        held = self.schedule.outputs
        for n in range(held):
            em.line(f"vec o{n} = v_zero();")
        for first, count in self.step.runs():
            with em.loop("v", count):
                if self.schedule.inputs:
                    self._cached_inputs(em, sums, first)
                else:
                    with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
                        self._tap_pointers(em, first, "ky", "kx")
                        self._tap(em, sums, first)
        for n in range(held):
            em.line(f"v_store({plus('acc', sums.at(*divmod(n, self.width)))}, o{n});")

    def _tap_pointers(self, em: Emitter, first: int, ky: str, kx: str) -> None:
        """``xt``: the tap's input of the first output; ``q<s>``: its weights."""
        row, column, vector = (self.input_at(*one) for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        at = plus("x0", times(ky, row), times(kx, column), times("v", vector), self.input_at(0, 0, first))
        em.line(f"const uint8_t *xt = {at};", scalar=3)
        row, column, vector = (self.weight_at(*one) for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        at = plus("w", times(ky, row), times(kx, column), times("v", vector), self.weight_at(0, 0, first))
        em.line(f"const uint8_t *wt = {at};", scalar=3)
        for s in range(self.step.registers):
            em.line(f"const vec q{s} = v_load({plus('wt', 16 * s)});")

    def _accumulate(self, em: Emitter, vector: int, acc: str, x: str) -> None:
        for s in range(self.step.registers):
            em.line(self.step.operation(s, vector, acc, f"q{s}", x))

    def _tap(self, em: Emitter, sums: Sums, vector: int) -> None:
        """One tap with all outputs: those in registers, the rest of their last row, the other rows."""
        sy, sx = self.layer.stride
        held = self.schedule.outputs
        for n in range(held):
            y, x = divmod(n, self.width)
            with em.block():
                em.line(f"const vec x = v_load({plus('xt', self.input_at(y * sy, x * sx, 0))});")
                self._accumulate(em, vector, f"o{n}", "x")
        row, column = divmod(held, self.width)
        if column:
            self._stretch(em, sums, vector, str(row), column, self.width - column)
            row += 1
        self._rows(em, sums, vector, row, self.rows - row)

    def _rows(self, em: Emitter, sums: Sums, vector: int, first: int, count: int) -> None:
        if count > 0:
            with em.loop("y", count):
                self._stretch(em, sums, vector, plus("y", first) if first else "y", 0, self.width)

    def _stretch(self, em: Emitter, sums: Sums, vector: int, row: str, first: int, count: int) -> None:
        """Outputs ``first .. first + count`` of a row, sums through memory."""
        if count <= 0:
            return
        sy, sx = self.layer.stride
        pixel = sx * self.source.pixel_bytes
        with em.block():
            em.line(f"const uint8_t *x = xt + ({row}) * {sy * self.source.row_bytes} + {first * pixel};", scalar=2)
            em.line(f"uint8_t *y_ = acc + ({row}) * {sums.row} + {first * sums.pitch};", scalar=2)

            def output(k: int) -> None:
                with em.block():
                    em.line(f"vec a = v_load({plus('y_', k * sums.pitch)});")
                    em.line(f"const vec x_ = v_load({plus('x', k * pixel)});")
                    self._accumulate(em, vector, "a", "x_")
                    em.line(f"v_store({plus('y_', k * sums.pitch)}, a);")

            self.columns(em, count, UNROLL, {"x": pixel, "y_": sums.pitch}, output)

    def _cached_inputs(self, em: Emitter, sums: Sums, vector: int) -> None:
        """All taps of a vector, unrolled, with some inputs of row ``KH - 1`` from column ``KW - 1`` on in registers."""
        height, width = self.layer.kernel
        sy, sx = self.layer.stride
        row, left, held = height - 1, width - 1, self.schedule.inputs
        at = plus("x0", times("v", 16), self.input_at(row, left, vector))
        em.line(f"const uint8_t *cached = {at};", scalar=2)
        # With a stride, or at a row's end, an input may meet no output.
        met = {
            x * sx + kx - left
            for ky, kx, x in product(range(height), range(width), range(self.width))
            if (row - ky) % sy == 0 and (row - ky) // sy < self.rows
        }
        for n in sorted(met & set(range(held))):
            em.line(f"const vec i{n} = v_load({plus('cached', self.input_at(0, n, 0))});")
        for ky in range(height):
            for kx in range(width):
                em.comment(f"tap {ky}, {kx}")
                with em.block():
                    y, odd = divmod(row - ky, sy)
                    # outputs whose input is cached: left <= x * sx + kx < left + held
                    first = -(-(left - kx) // sx)
                    last = min(self.width, -(-(left + held - kx) // sx))
                    none = bool(odd) or y >= self.rows or first >= last
                    every = not none and (self.rows, first, last) == (1, 0, self.width)
                    self._tap_pointers_at(em, vector, ky, kx, inputs=not every)
                    if none:
                        self._rows(em, sums, vector, 0, self.rows)
                        continue
                    self._rows(em, sums, vector, 0, y)
                    self._stretch(em, sums, vector, str(y), 0, first)
                    for x in range(first, last):
                        with em.block():
                            em.line(f"vec a = v_load({plus('acc', sums.at(y, x))});")
                            self._accumulate(em, vector, "a", f"i{x * sx + kx - left}")
                            em.line(f"v_store({plus('acc', sums.at(y, x))}, a);")
                    self._stretch(em, sums, vector, str(y), last, self.width - last)
                    self._rows(em, sums, vector, y + 1, self.rows - y - 1)

    def _tap_pointers_at(self, em: Emitter, first: int, ky: int, kx: int, *, inputs: bool) -> None:
        """As :meth:`_tap_pointers`, for a tap that is known; ``inputs``: some are read from memory."""
        if inputs:
            em.line(f"const uint8_t *xt = {plus('x0', times('v', 16), self.input_at(ky, kx, first))};", scalar=2)
        at = plus("w", times("v", self.weight_at(0, 0, 1)), self.weight_at(ky, kx, first))
        em.line(f"const uint8_t *wt = {at};", scalar=2)
        for s in range(self.step.registers):
            em.line(f"const vec q{s} = v_load({plus('wt', 16 * s)});")


class SingleInput(Single):
    """Input-stationary: an input stays in its register while it meets every tap; sums go through memory.

    Sums have a border for the outputs that lie outside the image. With a stride, inputs that meet the same taps are
    taken together: a *phase* of rows at a time, and as many inputs side by side as the stride has columns. Auxiliary
    weights are loaded once per vector; auxiliary outputs are those of the columns that the next input meets too, their
    registers rotate by renaming as the inputs of :class:`SingleOutput` do.
    """

    anchor = "is"
    loops = ("v: input registers of a pixel", "y, i: inputs", "taps, unrolled")

    @property
    def reach(self) -> int:
        """Output columns, beside its own, that an input meets."""
        return -(-self.layer.kernel[1] // self.layer.stride[1]) - 1

    def sums(self, pitch: int) -> Sums:
        rows = -(-self.layer.kernel[0] // self.layer.stride[0]) - 1
        return Sums(pitch, self.width, max(self.reach, rows))

    def body(self) -> int:
        height, width = self.layer.kernel
        return height * width * self.step.registers * self._unroll()

    def _unroll(self) -> int:
        return max(1, self.reach) if self.schedule.outputs else 1

    def flow(self, em: Emitter, sums: Sums) -> None:
        height, sy = self.layer.kernel[0], self.layer.stride[0]
        for first, count in self.step.runs():
            with em.loop("v", count):
                at = plus("w", times("v", self.weight_at(0, 0, 1)), self.weight_at(0, 0, first))
                em.line(f"const uint8_t *wv = {at};", scalar=2)
                for n in range(self.schedule.weights):
                    em.line(f"const vec w{n} = v_load({plus('wv', self._weight(n))});")
                for phase in range(min(sy, height)):
                    rows = -(-((self.rows - 1) * sy + height - phase) // sy)
                    with em.loop("y", rows):
                        at = plus("x0", times("y", sy * self.source.row_bytes), times("v", 16))
                        em.line(f"const uint8_t *x = {plus(at, self.input_at(phase, 0, first))};", scalar=2)
                        em.line(f"uint8_t *to = acc + {times('y', sums.row)};", scalar=2)
                        self._row(em, sums, first, list(range(phase, height, sy)))

    def _weight(self, number: int) -> int:
        """Byte offset, from the vector's first, of the ``number``-th weight register of a vector."""
        tap, s = divmod(number, self.step.registers)
        return self.weight_at(*divmod(tap, self.layer.kernel[1]), 0, s)

    def _slots(self, rows: int) -> set[tuple[int, int]]:
        """Cached outputs ``(row, column modulo reach)``."""
        every = [(j, slot) for j in range(rows) for slot in range(self.reach)]
        return set(every[: self.schedule.outputs])

    def _row(self, em: Emitter, sums: Sums, vector: int, taps: list[int]) -> None:
        """A row of inputs, which meets the kernel rows ``taps``: those of output rows ``y``, ``y - 1``, ..."""
        sx = self.layer.stride[1]
        slots = self._slots(len(taps))
        for j, slot in sorted(slots):
            em.line(f"vec o{j}_{slot} = v_zero();")

        def column(k: int) -> None:
            with em.block():
                self._opaque(em, "wv", self.layer.kernel[0] * self.layer.kernel[1])
                for phase in range(min(sx, self.layer.kernel[1])):
                    em.line(f"const vec in{phase} = v_load({plus('x', self.input_at(0, k * sx + phase, 0))});")
                for i in range(self.reach, -1, -1):
                    for j, ky in enumerate(taps):
                        self._output(em, sums, slots, vector, k, j, i, ky)

        count = -(-((self.width - 1) * sx + self.layer.kernel[1]) // sx)
        steps = {"x": sx * self.source.pixel_bytes, "to": sums.pitch}
        self.columns(em, count, self._unroll(), steps, column)

    def _output(
        self, em: Emitter, sums: Sums, slots: set[tuple[int, int]], vector: int, k: int, j: int, i: int, ky: int
    ) -> None:
        """The inputs of column ``k`` with output row ``y - j`` and column ``k - i``."""
        sx = self.layer.stride[1]
        taps = [kx for kx in range(i * sx, min((i + 1) * sx, self.layer.kernel[1]))]
        at = plus("to", k * sums.pitch - i * sums.pitch - j * sums.row)
        cached = bool(self.reach) and (j, (k - i) % self.reach) in slots
        with em.block():
            acc = f"o{j}_{(k - i) % self.reach}" if cached else "a"
            if not cached:
                em.line(f"vec a = v_load({at});")
            elif i == 0:
                em.line(f"{acc} = v_load({at});")
            for kx in taps:
                for s in range(self.step.registers):
                    number = (ky * self.layer.kernel[1] + kx) * self.step.registers + s
                    w = f"w{number}"
                    if number >= self.schedule.weights:
                        w = f"w_{kx}_{s}"
                        em.line(f"const vec {w} = v_load({plus('wv', self._weight(number))});")
                    em.line(self.step.operation(s, vector, acc, w, f"in{kx - i * sx}"))
            if not cached or i == self.reach:
                em.line(f"v_store({at}, {acc});")
