"""Quantisation without training: a few hundred images without labels make a trained network a rounded one.

:mod:`~sysmol.train.quantise.ptq.moments` and :mod:`~sysmol.train.quantise.ptq.rounding` round a layer's weights,
:mod:`~sysmol.train.quantise.ptq.layers` does so layer after layer, :mod:`~sysmol.train.quantise.ptq.precisions` chooses
bits per channel, :mod:`~sysmol.train.quantise.ptq.refit` fits scales, offsets and biases of the whole network to what
it gave in full precision. :mod:`sysmol.train.recipes.quantisation` puts them together.
"""
