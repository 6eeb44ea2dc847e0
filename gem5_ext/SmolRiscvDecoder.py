from m5.objects.RiscvDecoder import RiscvDecoder
from m5.objects.SmolClasses import smolClass
from m5.params import *


class SmolRiscvDecoder(RiscvDecoder):
    """Stock RISC-V decoder plus the SMOL instructions.

    The defaults of the operation classes are classes that no other instruction of integer, floating-point or
    vector code has, so that each function can be given its own latency and functional unit.
    """

    type = "SmolRiscvDecoder"
    cxx_class = "gem5::SmolRiscvDecoder"
    cxx_header = "gem5_ext/smol_riscv.hh"

    patterns = VectorParam.Unsigned(
        list(range(45)), "pattern ids that the hardware supports; vmac and vdot of any other are illegal instructions"
    )
    vmac_class = Param.OpClass(smolClass("vmac", "SimdAes"), "operation class of vmac")
    vdot_class = Param.OpClass(smolClass("vdot", "SimdAesMix"), "operation class of vdot")
    vmul_class = Param.OpClass(smolClass("vmul", "SimdSha1Hash"), "operation class of vmul")
    vmla_class = Param.OpClass(smolClass("vmla", "SimdSha256Hash"), "operation class of vmla")
    vqpk_class = Param.OpClass(smolClass("vqpk", "SimdSha256Hash2"), "operation class of vqpk")
