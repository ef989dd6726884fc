"""``python -m asyncv2d`` is the command ``asyncv2d``."""

from asyncv2d.cli import main

if __name__ == "__main__":
    main()
