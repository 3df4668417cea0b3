"""Prints what pip must install for `build` (build system and run time) or `test`, as pyproject.toml says."""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
build = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
print(*{"build": build, "test": project["project"]["optional-dependencies"]["test"]}[sys.argv[1]], sep="\n")
