from m5.objects.Device import DmaDevice
from m5.params import *
from m5.proxy import *


class SmolTile(DmaDevice):
    """A compute-in-memory tile: executes lists of descriptors, which it reads from memory (docs/tile.md).

    Times are in cycles of its clock domain.
    """

    type = "SmolTile"
    cxx_class = "gem5::SmolTile"
    cxx_header = "gem5_ext/tile/smol_tile.hh"

    pio_addr = Param.Addr("address of its registers")
    pio_latency = Param.Latency("20ns", "time of an access to a register")
    memory = VectorParam.AddrRange("what it may read and write")

    arrays = Param.Unsigned(4, "arrays that compute at the same time")
    rows = Param.Unsigned(128, "rows of an array")
    columns = Param.Unsigned(128, "columns of an array, one bit each")
    contexts = Param.Unsigned(2, "sets of weights that an array holds")
    scratch_bytes = Param.Unsigned(65536, "bytes of the scratchpad")
    accumulators = Param.Unsigned(8192, "accumulators of 32 bits")
    fetch_bytes = Param.Unsigned(16, "bytes per cycle into the scratchpad")
    weight_bytes = Param.Unsigned(16, "bytes per cycle into the arrays")
    store_bytes = Param.Unsigned(16, "bytes per cycle to the memory")
    feed_bytes = Param.Unsigned(16, "bytes per cycle from the scratchpad into each array")
    store_lanes = Param.Unsigned(8, "channels that are requantised per cycle")
    start_cycles = Param.Unsigned(8, "cycles of a computation or a store before its first result")
    window = Param.Unsigned(16, "descriptors under way at the same time")
