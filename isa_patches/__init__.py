"""Optional edits inside gem5's own tree, as data, and the program that applies, checks, reverts and shows them.

Nothing here is needed to run SMOL instructions: the plug-in (``gem5_ext/``) works in an unpatched gem5. docs/patches.md
says what each patch buys. A patch is a JSON file in ``data/``: for every supported gem5 version the files that it
touches, with the SHA-256 of each as gem5 ships it, a short anchor, and the lines to insert or the words to put in.
"""

from sysmol.isa_patches.patches import Edit, Patch, load_patches
from sysmol.isa_patches.tree import Tree

__all__ = ["Edit", "Patch", "Tree", "load_patches"]

if __name__ == "isa_patches":  # found beside the working directory, not through the package
    raise ImportError("isa_patches is now sysmol.isa_patches: import that, or run python -m sysmol.isa_patches")
