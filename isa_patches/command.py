"""``sysmol patch`` and ``python -m sysmol.isa_patches``: one implementation for both."""

from collections.abc import Callable
from pathlib import Path

from sysmol.errors import CheckFailed, SysmolError
from sysmol.isa_patches.patches import load_patches
from sysmol.isa_patches.tree import Tree

ACTIONS = ("apply", "check", "revert", "diff")


def run(action: str, tree: Path, names: list[str], say: Callable[[str], None]) -> None:
    """Do ``action`` on a gem5 tree with the patches of these names (none: all), telling ``say`` line by line.

    Raises :class:`CheckFailed` where ``check`` finds a patch that is not applied, :class:`SysmolError` on a bad action
    and on a tree that is refused (nothing was changed then).
    """
    if action not in ACTIONS:
        raise SysmolError(f"there is no action {action!r}: choose from {', '.join(ACTIONS)}")
    gem5 = Tree(tree, load_patches())
    chosen = gem5.select(names)
    if action == "diff":
        say(gem5.diff(chosen).rstrip("\n"))
        return
    if action == "check":
        missing = []
        for patch in chosen:
            done = gem5.applied(patch)
            say(f"{patch.name}: {'applied' if done else 'not applied'} ({patch.description})")
            missing += [] if done else [patch.name]
        if missing:
            raise CheckFailed(f"{tree} (gem5 {gem5.version}) lacks {', '.join(missing)}")
        return
    changed = gem5.change(chosen, wanted=action == "apply")
    for name in changed:
        say(f"{tree / name}: changed")
    done_or_not = "applied" if action == "apply" else "reverted"
    for patch in chosen:
        touched = any(name in patch.gem5[gem5.version] for name in changed)
        say(f"{patch.name}: {done_or_not}" + (f"; build gem5 again ({patch.recompiles})" if touched else " already"))
