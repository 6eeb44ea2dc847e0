"""What a prepared network computes, and on which activation grid."""

FLOAT, NOISE, FROZEN = "float", "noise", "frozen"
"""What the forward pass computes: full precision, SMOL's phase 1, SMOL's phase 2."""

OFFSET, SYMMETRIC, CLAMP = GRIDS = ("offset", "symmetric", "clamp")
"""How SMOL codes, whose grid is symmetric about zero, meet activation functions that leave nothing below it.

``offset``: the grid has a learned offset, folded into the next layer's constants; its lower end plays the part of the
activation function. ``symmetric``: activation function and no offset, so that half of the grid is lost (for comparison;
not exported). ``clamp``: no offset and no activation function, both ends of the grid limit the sum.
"""
