from m5.objects.ArmDecoder import ArmDecoder
from m5.objects.SmolClasses import smolParameters


class SmolArmDecoder(ArmDecoder):
    """Stock AArch64 decoder plus the SMOL instructions.

    Its parameters (SmolClasses.py): ``functions``, codes of the instructions that it has; ``patterns``, ``pieces``,
    ``forms``, values of their selectors; for every instruction of the table ``<name>_class``.
    """

    type = "SmolArmDecoder"
    cxx_class = "gem5::SmolArmDecoder"
    cxx_header = "gem5_ext/smol_arm.hh"

    locals().update(smolParameters())
