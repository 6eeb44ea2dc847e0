"""``python -m sysmol`` is the command line."""

from sysmol.cli import main

if __name__ == "__main__":
    main()
