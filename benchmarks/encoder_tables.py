"""The tables of docs/transformers.md: where an encoder layer's cycles go, and what baselines take."""

from collections.abc import Callable

import pandas as pd

from sysmol.analysis.markdown import table as markdown
from sysmol.benchmarks.kernel_tables import ratio
from sysmol.benchmarks.measure import TOTAL

Frame = pd.DataFrame
ORDER = ("fp32", "int8", "w4", "w2")
PRODUCTS = ("conv2d", "scores", "attend")


def _chosen(data: dict[str, Frame], network: str) -> Frame:
    rows = data["encoders"]
    rows = rows[(rows["network"] == network) & (rows["status"] == "ok")]
    columns = rows.assign(column=rows["isa"] + " " + rows["machine"] + " " + rows["variant"])
    return columns


def _columns(rows: Frame) -> list[tuple[str, str, str]]:
    """ISA, machine and variant of every measured program, baselines first."""
    found = {(str(r["isa"]), str(r["machine"]), str(r["variant"])) for r in rows.to_dict("records")}
    return sorted(found, key=lambda each: (each[0], each[1], ORDER.index(each[2])))


def regions_table(network: str) -> Callable[[dict[str, Frame]], str]:
    """Thousand cycles of every layer, by program."""

    def make(data: dict[str, Frame]) -> str:
        rows = _chosen(data, network)
        columns = _columns(rows)
        names = {"arm": "AArch64", "riscv": "RISC-V"}
        head = [
            "layer",
            *(
                f"{names[isa]}, {variant}{'' if machine == 'o3-n1' else ', ' + machine}"
                for isa, machine, variant in columns
            ),
        ]
        cells = {
            (str(r["isa"]), str(r["machine"]), str(r["variant"]), str(r["layer"])): float(r["cycles"])
            for r in rows.to_dict("records")
        }
        layers = list(dict.fromkeys(rows["layer"]))
        lines = []
        for layer in [*(name for name in layers if name != TOTAL), TOTAL]:
            values = [cells.get((*column, layer)) for column in columns]
            lines.append([layer, *("–" if value is None else f"{value / 1000:.1f}" for value in values)])
        return markdown(head, lines)

    return make


def ratios_table(data: dict[str, Frame]) -> str:
    """Cycles of the baselines over those of every program of codes, and the share of what is not products."""
    rows = data["encoders"]
    rows = rows[rows["status"] == "ok"]
    totals = {
        (str(r["network"]), str(r["isa"]), str(r["machine"]), str(r["variant"])): float(r["cycles"])
        for r in rows[rows["layer"] == TOTAL].to_dict("records")
    }
    lines = []
    for network, isa, machine, variant in totals:
        own = rows[
            (rows["network"] == network)
            & (rows["isa"] == isa)
            & (rows["machine"] == machine)
            & (rows["variant"] == variant)
            & (rows["layer"] != TOTAL)
        ]
        cycles = totals[network, isa, machine, variant]
        rest = float(own[~own["op"].isin(PRODUCTS)]["cycles"].sum())
        over = [totals.get((network, isa, "o3-n1", name)) for name in ("fp32", "int8")]
        lines.append([
            network, isa, machine, variant, f"{cycles:,.0f}",
            *(ratio(None if base is None else base / cycles) for base in over), f"{100 * rest / cycles:.0f}%",
        ])  # fmt: skip
    head = ["shape", "ISA", "machine", "variant", "cycles", "fp32 / it", "int8 / it", "not products"]
    return markdown(head, lines)


TABLES: dict[str, tuple[str, Callable[[dict[str, Frame]], str]]] = {
    "encoder-ratios": ("encoders", ratios_table),
    "encoder-regions": ("encoders", regions_table("encoder")),
    "attention-regions": ("encoders", regions_table("attention")),
}
