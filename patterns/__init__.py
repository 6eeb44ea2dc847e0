"""Precisions and registers, without PyTorch: which patterns hold a tensor's channels, and which ones hardware should
have."""
