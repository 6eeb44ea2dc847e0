"""gem5_ext/SmolClasses.py: the parameters of the decoders that follow from the instruction table."""

from sysmol import isa
from sysmol.emit.text import BANNER


def render() -> str:
    rows = "\n".join(
        f'    ("{row.name}", "{row.class_parameter}", "{row.named_class}", "{row.op_class}"),' for row in isa.BY_UNIT
    )
    limits = "\n".join(f'    ("{s.plural}", range({len(s.legal)}), "{s.choice}"),' for s in isa.OPTIONAL.values())
    codes = [fn for row in isa.TABLE for fn in row.fns] + [row.fn for row in isa.ACCESSES]
    return f'''# {BANNER}
from m5.objects.FuncUnit import OpClass
from m5.params import *

SMOL_FUNCTIONS = (
{rows}
)
"""Every instruction: its name, the decoders' parameter, the operation class that is its own where gem5 has one (patch
op-classes), and a class that no other instruction of integer, floating-point or vector code has, so that it can be
given its own latency and functional unit."""
SMOL_CHOICES = (
{limits}
)
"""Every selector of whose values hardware may lack some: the decoders' parameter, all values, and what one is."""
SMOL_CODES = {tuple(codes)!r}
"""Function codes of all instructions, loads and stores among them."""


def smolParameters():
    """What a decoder can be told: instructions and values of their selectors that the hardware has, others being
    illegal, and an operation class per instruction."""
    parameters = {{
        "functions": VectorParam.Unsigned(list(SMOL_CODES), "function codes of the instructions that the hardware has")
    }}
    for name, values, what in SMOL_CHOICES:
        parameters[name] = VectorParam.Unsigned(list(values), "values of field6 that the hardware has, each a " + what)
    for name, parameter, named, stand_in in SMOL_FUNCTIONS:
        op_class = named if named in OpClass.vals else stand_in
        parameters[parameter] = Param.OpClass(op_class, "operation class of " + name)
    return parameters
'''
