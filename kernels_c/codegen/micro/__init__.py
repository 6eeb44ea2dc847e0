"""Micro-kernels: the multiply-accumulates of one register tile, by instruction."""

from kernels_c.codegen.micro.base import MicroKernel
from kernels_c.codegen.micro.lane import LaneDot
from kernels_c.codegen.micro.rvv import RvvFloat, RvvInt8
from kernels_c.codegen.micro.smol import SmolDot

__all__ = ["LaneDot", "MicroKernel", "RvvFloat", "RvvInt8", "SmolDot"]
