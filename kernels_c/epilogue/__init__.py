"""From sums to stored elements: requantisation and packing."""
