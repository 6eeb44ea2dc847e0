"""Random programs around the SMOL instructions: gem5's core models against the Python model.

:mod:`~configs_gem5.verify.operations` holds the instructions with text and meaning, :mod:`~configs_gem5.verify.program`
draws programs and interprets them, :mod:`~configs_gem5.verify.assembly` makes executables,
:mod:`~configs_gem5.verify.campaign` runs them in gem5, compares, and locates a difference.
:mod:`~configs_gem5.verify.faults` does the same for what must trap, on bare metal. docs/verification.md.
"""
