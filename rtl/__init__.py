"""The SMOL unit in silicon: its SystemVerilog, checks of it, and what it costs in area, delay and energy."""
