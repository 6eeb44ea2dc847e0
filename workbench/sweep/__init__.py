"""Sweeps over networks, ISAs, machines, pattern sets and core models: what is simulated once stays known.

``sysmol.workbench.sweep.load(folder)`` opens a sweep's ledger as a table; so does
``pandas.read_csv(folder/"ledger.csv")``. docs/sweeps.md.
"""

from sysmol.workbench.sweep.ledger import load, load_layers

__all__ = ["load", "load_layers"]
