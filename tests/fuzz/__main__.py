"""`make fuzz`: everything here for as long as it takes.

python -m tests.fuzz [--seed N] [--count N] [--lives N] [--seconds N] [--faults N] [--jobs N]
        [--keep DIRECTORY]
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
    parser.add_argument("--seconds", default="1800", help="for each target of libFuzzer")
    parser.add_argument("--faults", default="1000000", help="failing system calls for each verb")
    parser.add_argument("--jobs", default=str(os.cpu_count()))
    parser.add_argument("--keep", default="build/fuzz", help="where what was found is kept")
    given = parser.parse_args()
    common = ["--seed", given.seed, "--jobs", given.jobs, "--keep", given.keep]
    parts = [["tests.fuzz.compiler", "--count", given.count]]
    parts += [["tests.fuzz.lives", "--count", given.lives, "--view", view] for view in ("hybrid", "v1", "v2")]
    parts += [["tests.fuzz.lives", "--count", given.lives, flag] for flag in ("--ordinary", "--sanitized")]
    parts.append(["tests.fuzz.libfuzzer", "--seconds", given.seconds])
    codes = [subprocess.run([sys.executable, "-m", *part, *common], check=False).returncode for part in parts]
    faults = [sys.executable, "-m", "pytest", "-q", "tests/fuzz/test_faults.py"]
    environment = {**os.environ, "OCIRT_FAULTS": given.faults}
    codes.append(subprocess.run(faults, env=environment, check=False).returncode)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
