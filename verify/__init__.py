"""Random programs around the SMOL instructions: gem5's core models against the Python model.

:mod:`~sysmol.verify.operations` holds the instructions with text and meaning, :mod:`~sysmol.verify.program`
draws programs and interprets them, :mod:`~sysmol.verify.assembly` makes executables,
:mod:`~sysmol.verify.campaign` runs them in gem5, compares, and locates a difference.
:mod:`~sysmol.verify.faults` does the same for what must trap, on bare metal. docs/verification.md.
"""
