"""Layer shapes as data, the measurements over them in gem5, and the tables that show them (docs/benchmarks.md)."""
