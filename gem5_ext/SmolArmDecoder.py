from m5.objects.ArmDecoder import ArmDecoder
from m5.objects.SmolClasses import smolClass
from m5.params import *


class SmolArmDecoder(ArmDecoder):
    """Stock AArch64 decoder plus the SMOL instructions.

    The defaults of the operation classes are classes that no other instruction of integer, floating-point or
    vector code has, so that each function can be given its own latency and functional unit.
    """

    type = "SmolArmDecoder"
    cxx_class = "gem5::SmolArmDecoder"
    cxx_header = "gem5_ext/smol_arm.hh"

    patterns = VectorParam.Unsigned(
        list(range(45)), "pattern ids that the hardware supports; vmac and vdot of any other are illegal instructions"
    )
    vmac_class = Param.OpClass(smolClass("vmac", "SimdAes"), "operation class of vmac")
    vdot_class = Param.OpClass(smolClass("vdot", "SimdAesMix"), "operation class of vdot")
    vmul_class = Param.OpClass(smolClass("vmul", "SimdSha1Hash"), "operation class of vmul")
    vmla_class = Param.OpClass(smolClass("vmla", "SimdSha256Hash"), "operation class of vmla")
    vqpk_class = Param.OpClass(smolClass("vqpk", "SimdSha256Hash2"), "operation class of vqpk")
