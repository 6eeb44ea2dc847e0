"""gem5's operation classes, v24.0, and groups of them."""

_NAMES = """
IntAlu IntMult IntDiv FloatAdd FloatCmp FloatCvt FloatMult FloatMultAcc FloatDiv FloatMisc FloatSqrt
SimdAdd SimdAddAcc SimdAlu SimdCmp SimdCvt SimdMisc SimdMult SimdMultAcc SimdMatMultAcc SimdShift SimdShiftAcc
SimdDiv SimdSqrt SimdFloatAdd SimdFloatAlu SimdFloatCmp SimdFloatCvt SimdFloatDiv SimdFloatMisc SimdFloatMult
SimdFloatMultAcc SimdFloatMatMultAcc SimdFloatSqrt SimdReduceAdd SimdReduceAlu SimdReduceCmp SimdFloatReduceAdd
SimdFloatReduceCmp SimdAes SimdAesMix SimdSha1Hash SimdSha1Hash2 SimdSha256Hash SimdSha256Hash2 SimdShaSigma2
SimdShaSigma3 SimdPredAlu Matrix MatrixMov MatrixOP MemRead MemWrite FloatMemRead FloatMemWrite IprAccess
InstPrefetch SimdUnitStrideLoad SimdUnitStrideStore SimdUnitStrideMaskLoad SimdUnitStrideMaskStore
SimdStridedLoad SimdStridedStore SimdIndexedLoad SimdIndexedStore SimdWholeRegisterLoad SimdWholeRegisterStore
SimdUnitStrideFaultOnlyFirstLoad SimdUnitStrideSegmentedLoad SimdUnitStrideSegmentedStore SimdExt SimdFloatExt
SimdConfig
"""
OP_CLASSES = frozenset(_NAMES.split())
"""All classes. A machine must give each a unit and a latency: gem5 would run a class without a unit in one cycle and
without limit, silently."""

_IN_NO_KERNEL = """
SimdAes SimdAesMix SimdSha1Hash SimdSha1Hash2 SimdSha256Hash SimdSha256Hash2 SimdShaSigma2 SimdShaSigma3
Matrix MatrixMov MatrixOP
"""
"""Cryptography and matrix classes: those of the SMOL functions that a machine has stand in for them."""
UNUSED = "@unused"
"""The group of those classes; where a machine names it, those that are not of its SMOL functions are meant."""

_GROUPS = {
    "@scalar-load": "MemRead FloatMemRead",
    "@vector-load": "SimdUnitStrideLoad SimdUnitStrideMaskLoad SimdUnitStrideSegmentedLoad SimdStridedLoad "
    "SimdIndexedLoad SimdUnitStrideFaultOnlyFirstLoad SimdWholeRegisterLoad",
    "@scalar-store": "MemWrite FloatMemWrite",
    "@vector-store": "SimdUnitStrideStore SimdUnitStrideMaskStore SimdUnitStrideSegmentedStore SimdStridedStore "
    "SimdIndexedStore SimdWholeRegisterStore",
    "@simd-basic": "SimdAdd SimdAlu SimdCmp SimdMisc SimdExt",
    "@simd-shift": "SimdShift SimdShiftAcc SimdAddAcc",
    "@simd-multiply": "SimdMult SimdMultAcc",
    "@simd-matrix": "SimdMatMultAcc SimdFloatMatMultAcc",
    "@simd-reduce": "SimdReduceAdd SimdReduceAlu SimdReduceCmp",
    "@simd-float": "SimdFloatAdd SimdFloatAlu SimdFloatCmp SimdFloatMisc SimdFloatExt",
    "@simd-float-multiply": "SimdFloatMult SimdFloatMultAcc",
    "@simd-float-reduce": "SimdFloatReduceAdd SimdFloatReduceCmp",
    "@convert": "SimdCvt SimdFloatCvt FloatCvt",
    "@float": "FloatAdd FloatCmp FloatMisc",
    "@float-multiply": "FloatMult FloatMultAcc",
    "@divide": "SimdDiv SimdSqrt SimdFloatDiv SimdFloatSqrt FloatDiv FloatSqrt",
    UNUSED: _IN_NO_KERNEL,
}
CLASS_GROUPS = {name: tuple(members.split()) for name, members in _GROUPS.items()}
"""Operation classes that belong together; a machine file may name a group where it names a class."""
