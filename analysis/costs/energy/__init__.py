"""Energy of a network's layers: events that a run counted, times constants that have a source and a range.

    E = cycles x background + sum over kinds of events of count x energy

Constants are not known to a figure but to a range. They are drawn from their ranges many times (:mod:`.constants`), and
only draws with which the core takes its known power are kept. Energies are given as the median of what the draws give,
between the 5% and the 95% quantile; ratios of two networks are formed draw by draw, so that what is uncertain about
both cancels (:mod:`.model`). docs/energy.md has the constants and what they leave out.
"""
