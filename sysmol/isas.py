"""The instruction sets that programs are made for: their short names, as options, files and columns write them.

Standard library only: gem5's embedded Python imports this.
"""

ISAS = ("arm", "riscv")
"""AArch64 and RISC-V: what machines have, and what gem5 simulates."""
HOST = "host"
"""The computer at hand, by portable C: nothing there is simulated or timed."""
TARGETS = (HOST, *ISAS)
"""All that C is generated for."""
