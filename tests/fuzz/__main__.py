"""`make fuzz`: everything here for as long as it takes.

python -m tests.fuzz [--seed N] [--count N] [--lives N] [--jobs N] [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", default="1000000", help="documents for the compiler alone")
    parser.add_argument("--lives", default="2000", help="configs for real containers, in each view of the cgroups")
    parser.add_argument("--jobs", default=str(os.cpu_count()))
    parser.add_argument("--keep", default="build/fuzz", help="where what was found is kept")
    given = parser.parse_args()
    common = ["--seed", given.seed, "--jobs", given.jobs, "--keep", given.keep]
    parts = [["tests.fuzz.compiler", "--count", given.count]]
    parts += [["tests.fuzz.lives", "--count", given.lives, "--view", view] for view in ("hybrid", "v1", "v2")]
    codes = [subprocess.run([sys.executable, "-m", *part, *common], check=False).returncode for part in parts]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
