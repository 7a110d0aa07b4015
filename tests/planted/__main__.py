"""``make planted``: every fault of the list, one after the other, and a table of what noticed it.

Exit code 1 if one survives, or if its text is no longer found in the tree. ``python -m tests.planted skip`` takes only
the faults with that word in their name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.planted.faults import FAULTS
from tests.planted.planting import CannotPlant, Copy, check_text


def main(words: list[str]) -> int:
    """Run the faults whose names contain one of the words (all without): 0 if all were caught."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    rotten = [(fault, wrong) for fault in chosen if (wrong := check_text(fault))]
    for fault, wrong in rotten:
        print(f"ROTTEN    {fault.name}: {wrong}")
    chosen = [fault for fault in chosen if not any(fault is other for other, _ in rotten)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as directory:
        copy = Copy(Path(directory) / "tree")
        print(f"unharmed copy: sound in {copy.check_sound(chosen):.0f} s", flush=True)
        print(f"{'fault':56} {'promise':>7}  {'caught in':>9}  by", flush=True)
        for fault in chosen:
            try:
                verdict = copy.try_fault(fault)
            except CannotPlant as error:
                print(f"{fault.name:56} {fault.promise:7}  {'NOT RUN':>9}  {error}", flush=True)
                survived += 1
                continue
            told = f"{verdict.seconds:7.1f} s" if verdict.caught else "SURVIVED"
            print(f"{fault.name:56} {fault.promise:7}  {told:>9}  {fault.tests[0].removeprefix('tests/')}", flush=True)
            survived += not verdict.caught
    print(f"{len(chosen)} faults, {len(chosen) - survived} caught, {survived} not, {len(rotten)} rotten")
    return 1 if survived or rotten else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
