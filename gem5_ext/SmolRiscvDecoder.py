from m5.objects.RiscvDecoder import RiscvDecoder
from m5.objects.SmolClasses import smolParameters


class SmolRiscvDecoder(RiscvDecoder):
    """Stock RISC-V decoder plus the SMOL instructions.

    Its parameters are ``patterns`` and, for every instruction of the table, ``<name>_class`` (SmolClasses.py).
    """

    type = "SmolRiscvDecoder"
    cxx_class = "gem5::SmolRiscvDecoder"
    cxx_header = "gem5_ext/smol_riscv.hh"

    locals().update(smolParameters())
