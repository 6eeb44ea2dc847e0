"""How far the closed form of the tile is from gem5, and the correction that is learned from it.

    python -m sysmol.benchmarks.tile_corrections [--rows results/tile.csv] [--out analysis/costs/tile_corrections.json]

The logarithm of measured over calculated cycles is fitted by ridge regression on a few sizes of layer and tile. Errors
are those of rows that the fit had not seen: networks left out, tiles left out, and both. The correction that is written
is fitted on all rows; its interval is that of leaving out both. Programs whose core reads memory meanwhile are
compared, not learned from.
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau

from sysmol.analysis.costs.tile import FILE, Correction, features
from sysmol.benchmarks.tile_points import RESULTS
from sysmol.cim.estimate import Shape, estimate
from sysmol.cim.tile import Tile
from sysmol.cim.timing import CORE_READS, MemoryTiming
from sysmol.errors import SysmolError

ALPHA = 3.0
"""Of the ridge, in units of a row."""
Floats = npt.NDArray[np.float64]


def rows_of(path: Path) -> pd.DataFrame:
    """Measured layers; :class:`SysmolError` where there are none."""
    if not path.is_file():
        raise SysmolError(f"there is no {path}: run python -m sysmol.benchmarks.tile_points")
    rows = pd.read_csv(path)
    # Of today, whatever it was when the layers were measured.
    for memory, own in ((MemoryTiming(), rows["reads"] == 0), (CORE_READS, rows["reads"] > 0)):
        if own.any():
            rows.loc[own, "closed"] = estimate(*points_of(rows[own]), memory)
    return rows


def points_of(rows: pd.DataFrame) -> tuple[list[Shape], list[Tile]]:
    """Layers and tiles of rows."""
    shapes = [Shape(**{f.name: int(row[f.name]) for f in fields(Shape)}) for row in rows.to_dict("records")]
    settings = rows[[f.name for f in fields(Tile)]].astype(object).to_dict("records")
    return shapes, [Tile.of_values({str(name): value for name, value in row.items()}) for row in settings]


def table_of(rows: pd.DataFrame) -> Floats:
    """:func:`~sysmol.analysis.costs.tile.features` of rows."""
    return features(*points_of(rows), rows["closed"].to_numpy())


def fit(x: Floats, logs: Floats) -> Floats:
    """Coefficients of a ridge whose constant is free."""
    mean, scale = x[:, 1:].mean(0), x[:, 1:].std(0) + 1e-9
    z = (x[:, 1:] - mean) / scale
    slopes = np.linalg.solve(z.T @ z + ALPHA * np.eye(z.shape[1]), z.T @ (logs - logs.mean())) / scale
    return np.concatenate([[logs.mean() - mean @ slopes], slopes])


SPLITS: dict[str, Callable[[pd.DataFrame, int, int], "pd.Series[bool]"]] = {
    "a network": lambda rows, network, tile: rows["network"] != network,
    "a tile": lambda rows, network, tile: rows["tile"] != tile,
    "both": lambda rows, network, tile: (rows["network"] != network) & (rows["tile"] != tile),
}
"""What is learned from where a network and a tile are asked for."""


def left_out(rows: pd.DataFrame, split: str) -> Floats:
    """Corrected cycles of every row by a fit that had not seen its network, its tile, or either."""
    x, logs = table_of(rows), np.log((rows["gem5"] / rows["closed"]).to_numpy())
    found = np.zeros(len(rows))
    for network, tile in rows[["network", "tile"]].drop_duplicates().itertuples(index=False):
        own = ((rows["network"] == network) & (rows["tile"] == tile)).to_numpy()
        seen = SPLITS[split](rows, network, tile).to_numpy()
        if seen.sum() < 2 * x.shape[1]:
            raise SysmolError(f"{seen.sum()} rows without {split} are too few to learn from: measure more pairs")
        found[own] = rows["closed"].to_numpy()[own] * np.exp(x[own] @ fit(x[seen], logs[seen]))
    return found


def judged(name: str, calculated: Floats, measured: Floats) -> list[object]:
    """Name, rows, mean error, error weighted by cycles, median error, tau."""
    error = np.abs(calculated / measured - 1)
    weighted = float(np.abs(calculated - measured).sum() / measured.sum())
    tau = float(kendalltau(calculated, measured).statistic)
    return [name, len(measured), float(error.mean()), weighted, float(np.median(error)), tau]


def half(rows: pd.DataFrame) -> Floats:
    """Corrected cycles of every second two pairs, by a fit on the other half of the pairs."""
    seen = (rows["pair"] % 4 < 2).to_numpy()
    x, logs = table_of(rows), np.log((rows["gem5"] / rows["closed"]).to_numpy())
    return np.asarray(rows["closed"].to_numpy() * np.exp(x @ fit(x[seen], logs[seen])))[~seen]


def compare(rows: pd.DataFrame) -> list[list[object]]:
    """Rules and closed form on pairs that their constants were chosen on (two of four) and on the others; the
    corrected form on the others, and by what was left out; then with a core that reads memory."""
    alone, beside = rows[rows["reads"] == 0], rows[rows["reads"] > 0]
    seen, unseen = rows[rows["pair"] % 4 < 2], rows[rows["pair"] % 4 >= 2]
    table = [
        judged(f"{name}, {which}", part[name].to_numpy(), part["gem5"].to_numpy())
        for name in ("rules", "closed")
        for which, part in (("seen", seen), ("unseen", unseen))
    ]
    table.append(judged("corrected, unseen", half(rows), unseen["gem5"].to_numpy()))
    table += [judged(f"without {split}", left_out(alone, split), alone["gem5"].to_numpy()) for split in SPLITS]
    if len(beside):
        table.append(judged("closed, core reads", beside["closed"].to_numpy(), beside["gem5"].to_numpy()))
    return table


def correction(rows: pd.DataFrame) -> Correction:
    """Fitted on all rows whose core is idle; the interval from leaving out network and tile."""
    alone = rows[rows["reads"] == 0].reset_index(drop=True)
    ratios = alone["gem5"].to_numpy() / left_out(alone, "both")
    low, high = (float(each) for each in np.quantile(ratios, [0.025, 0.975]))
    x, logs = table_of(alone), np.log((alone["gem5"] / alone["closed"]).to_numpy())
    coefficients = tuple(float(each) for each in fit(x, logs))
    return Correction("gem5", len(alone), coefficients, min(low, 1.0), max(high, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rows", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    rows = rows_of(arguments.rows)
    for name, count, mean, weighted, median, tau in compare(rows):
        print(f"{name:20} {count:4} layers: {mean:.1%}, by cycles {weighted:.1%}, median {median:.1%}, tau {tau:.3f}")
    correction(rows).save(arguments.out)


if __name__ == "__main__":
    main()
