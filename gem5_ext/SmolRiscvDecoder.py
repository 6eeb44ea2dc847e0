from m5.objects.RiscvDecoder import RiscvDecoder
from m5.objects.SmolClasses import smolParameters


class SmolRiscvDecoder(RiscvDecoder):
    """Stock RISC-V decoder plus the SMOL instructions.

    Its parameters (SmolClasses.py): ``functions``, codes of the instructions that it has; ``patterns``, ``pieces``,
    ``forms``, values of their selectors; for every instruction of the table ``<name>_class``.
    """

    type = "SmolRiscvDecoder"
    cxx_class = "gem5::SmolRiscvDecoder"
    cxx_header = "gem5_ext/smol_riscv.hh"

    locals().update(smolParameters())
