"""What comes in from outside: an ``nn.Module`` as a graph of units, built-in networks, data sets, the user's own
files."""
