"""Layer shapes as data, the measurements over them in gem5, and the tables that show them (docs/benchmarks.md)."""

if __name__ == "benchmarks":  # found beside the working directory, not through the package
    raise ImportError("benchmarks is now sysmol.benchmarks: import that, or run python -m sysmol.benchmarks")
