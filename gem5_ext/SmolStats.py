from m5.objects.CPUTracers import ExeTracer
from m5.objects.Probe import ProbeListenerObject
from m5.params import *
from m5.proxy import *


class SmolTracer(ExeTracer):
    """gem5's instruction tracer, which also tells a SmolStats what commits.

    Only Minor needs it: no probe of that model names the instruction. Builds without tracing (gem5.fast) never call it.
    """

    type = "SmolTracer"
    cxx_class = "gem5::SmolTracer"
    cxx_header = "gem5_ext/smol_stats.hh"


class SmolStats(ProbeListenerObject):
    """Statistics of the SMOL instructions that a core commits: wrong-path and faulting ones are not counted."""

    type = "SmolStats"
    cxx_class = "gem5::SmolStats"
    cxx_header = "gem5_ext/smol_stats.hh"

    core = Param.BaseCPU(Parent.any, "the core")
    tracer = Param.SmolTracer(NULL, "the core's tracer where the core is of the model Minor")
    classes = VectorParam.OpClass("operation classes of the SMOL instructions; others are not looked at")
    units = Param.Unsigned("SMOL instructions that can start per cycle")
