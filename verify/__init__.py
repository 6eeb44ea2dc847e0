"""Random programs around the SMOL instructions: gem5's core models against the Python model. docs/verification.md.

| file | what |
|---|---|
| ``operations.py``, ``meanings.py`` | the standard instructions around the SMOL ones: text and meaning |
| ``program.py``, ``state.py`` | programs: drawn from a seed, interpreted on a state |
| ``assembly.py``, ``languages/`` | programs as executables, a file of texts per ISA |
| ``batch.py``, ``simulation.py`` | several programs in one executable; its run in gem5 and the comparison |
| ``campaign.py``, ``location.py`` | many batches on all core models; where a difference began |
| ``faults.py``, ``traps/`` | what must trap, on bare metal, a file per ISA |
"""
