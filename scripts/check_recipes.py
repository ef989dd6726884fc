"""Runs ``asyncv2d plan`` on every recipe in configs/: each must load and explain itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIGS = Path(__file__).parent.parent / "configs"


def main() -> int:
    """Plan each recipe; the number of those that failed is the exit code."""
    recipes = sorted(CONFIGS.glob("*.yaml"))
    if not recipes:
        print(f"no recipes in {CONFIGS}")
        return 1
    return sum(not _plans(recipe) for recipe in recipes)


def _plans(recipe: Path) -> bool:
    command = [sys.executable, "-m", "asyncv2d", "plan", "--config", str(recipe)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{'ok    ' if result.returncode == 0 else 'FAILED'} {recipe.name}")
    if result.returncode:
        print(result.stderr)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
