"""gem5_ext/SmolClasses.py: the parameters of the decoders that follow from the instruction table."""

from sysmol import isa
from sysmol.emit.text import BANNER
from sysmol.pattern import PATTERNS


def render() -> str:
    rows = "\n".join(
        f'    ("{row.name}", "{row.class_parameter}", "{row.named_class}", "{row.op_class}"),' for row in isa.BY_UNIT
    )
    limited = " and ".join(row.name for row in isa.BY_UNIT if row.selector.optional)
    return f'''# {BANNER}
from m5.objects.FuncUnit import OpClass
from m5.params import *

SMOL_FUNCTIONS = (
{rows}
)
"""Every instruction: its name, the decoders' parameter, the operation class that is its own where gem5 has one (patch
op-classes), and a class that no other instruction of integer, floating-point or vector code has, so that it can be
given its own latency and functional unit."""


def smolParameters():
    """What a decoder can be told: the supported patterns, and an operation class per instruction."""
    parameters = {{
        "patterns": VectorParam.Unsigned(
            list(range({len(PATTERNS)})),
            "pattern ids that the hardware supports; {limited} of any other are illegal instructions",
        )
    }}
    for name, parameter, named, stand_in in SMOL_FUNCTIONS:
        op_class = named if named in OpClass.vals else stand_in
        parameters[parameter] = Param.OpClass(op_class, "operation class of " + name)
    return parameters
'''
