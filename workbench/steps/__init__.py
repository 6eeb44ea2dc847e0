"""The steps: train, compile, check, simulate. A file each: what the step depends on, and the function that does it.

Every file has ``task(...)``, which names the inputs, and ``run(folder, ...)``, which fills a folder from them and
nothing else, in whatever process.
"""
