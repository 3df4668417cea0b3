"""Builds what is not Python, in one place for every way of installing: wheel, sdist, editable, in place.

    ocirt/config/_schema.py    python -m ocirt.config._generate, from spec/
    ocirt/linux/_*.so          cffi, from ocirt/linux/_build.py
    ocirt/linux/_systemd.py    cffi, from there too
    ocirt/_bin/ocirt-init      static, from ocirt/spawn/init/
    ocirt                      the launcher, from ocirt/launcher/: a script in a wheel, ocirt/_bin/ocirt in the tree
    ocirt/COMMIT               what `ocirt --version` says, in wheels and sdists: a checkout has .git
    ocirt/spec/                a copy of spec/, in wheels only: a checkout has spec/ itself

Metadata is pyproject.toml's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from glob import glob
from importlib.util import find_spec
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)  # a build frontend does not

from ocirt.linux._flags import compile_flags, compiler, link_flags  # noqa: E402

PROGRAM = "ocirt"
INIT_SOURCES = "ocirt/spawn/init"
LAUNCHER_SOURCES = "ocirt/launcher"
SHARED_SOURCES = ("ocirt/linux", "ocirt/perform")  # in the launcher and in cffi's module


def log(message: str) -> None:
    """One line on stdout."""
    print(message, flush=True)


def run(*command: str) -> None:
    """Run a build step in the project's directory; its own output tells what went wrong."""
    try:
        subprocess.run(command, cwd=HERE, check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{shlex.join(command[:3])} …: exit status {error.returncode}") from None
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error}") from None


def newer(target: str, sources: list[str]) -> bool:
    """Whether target exists and is newer than every source and than this file."""
    try:
        built = os.stat(target).st_mtime
    except OSError:
        return False
    return all(os.stat(source).st_mtime < built for source in [*sources, os.path.join(HERE, "setup.py")])


def generate_schema(target: str) -> None:
    """The schemas of spec/ as Python code."""
    run(sys.executable, "-m", "ocirt.config._generate", target)


def host_side() -> list[str]:
    """What the launcher has besides its own sources: the shim, the performer, and the decoder of plans."""
    return [*(name for directory in SHARED_SOURCES for name in c_files(directory)[0]), f"{INIT_SOURCES}/plan.c"]


def c_files(directory: str) -> tuple[list[str], list[str]]:
    """The .c files of a directory, and all that they may include."""
    sources = sorted(glob(f"{directory}/*.c", root_dir=HERE))
    included = [*glob(f"{directory}/*.h", root_dir=HERE), *glob(f"{INIT_SOURCES}/*.h", root_dir=HERE)]
    tables = glob("ocirt/**/*.def", root_dir=HERE, recursive=True)
    return sources, [*included, *tables, "ocirt/linux/_flags.py"]


def compile_program(target: str, directory: str, flags: list[str], libraries: list[str]) -> None:
    """Compile and link all C of a directory (and what `libraries` names) to `target`, unless it is up to date."""
    sources, included = c_files(directory)
    more = [*(name for name in libraries if name.endswith(".c")), *glob("ocirt/*/*.h", root_dir=HERE)]
    forget_if_changed(target, [*compiler(), *flags, *libraries])
    if not sources or newer(target, [os.path.join(HERE, name) for name in [*sources, *included, *more]]):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    log(f"compiling {os.path.basename(target)}")
    run(*compiler(), *flags, "-o", target + ".new", *sources, *libraries)
    os.replace(target + ".new", target)  # a running program keeps its old file


def build_init(directory: str) -> None:
    """The static init, into `directory`. It has no libc."""
    compile_program(os.path.join(directory, "ocirt-init"), INIT_SOURCES, flags_of("init"), [])


def flags_of(kind: str) -> list[str]:
    """How a program is compiled and linked in one command."""
    return [*compile_flags(kind, HERE), *link_flags(kind)]


def python_macros(version: str) -> dict[str, str]:
    """What the launcher must know of the interpreter that it is built for. The base one: a venv may be a build's."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    return {
        "OCIRT_VERSION": version,
        "OCIRT_PYTHON_VERSION": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "OCIRT_PYTHON_EXE": os.path.realpath(base),
        "OCIRT_LIBPYTHON": shared if ".so" in shared else "",
        "OCIRT_STDLIB": sysconfig.get_path("stdlib"),
        "OCIRT_EXT_SUFFIX": sysconfig.get_config_var("EXT_SUFFIX"),
        "OCIRT_DYNLOAD": sysconfig.get_config_var("DESTSHARED") or "",
    }


def launcher_flags(version: str, site_packages: str) -> list[str]:
    """What the launcher is compiled with. site_packages: where the dependencies are, for one that runs in the tree."""
    macros = python_macros(version)
    if site_packages:
        macros["OCIRT_SITE_PACKAGES"] = site_packages
    defines = [f'-D{name}="{value}"' for name, value in macros.items()]
    return ["-Iocirt", f"-I{sysconfig.get_path('include')}", *defines]


def build_launcher(target: str, version: str, site_packages: str = "") -> None:
    """The `ocirt` program. site_packages: where the dependencies are, for one that runs in the tree."""
    flags = [*launcher_flags(version, site_packages), *flags_of("launcher")]
    compile_program(target, LAUNCHER_SOURCES, flags, [*host_side(), "-ldl"])


def forget_if_changed(target: str, command: list[str]) -> bool:
    """Remove what another command made."""
    text = "\n".join([*command, ""])
    stamp = os.path.join(HERE, "build/made-by", os.path.relpath(target, HERE).replace(os.sep, "-"))
    try:
        with open(stamp, encoding="utf-8") as file:
            same = file.read() == text
    except OSError:
        same = False
    if not same:
        with suppress(FileNotFoundError):
            os.remove(target)
        os.makedirs(os.path.dirname(stamp), exist_ok=True)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(text)
    return not same


def pack_modules(package: str) -> None:
    """The hot modules as one file beside the init, by the interpreter that the launcher will embed."""
    backend = find_spec("_cffi_backend")  # in a build environment it is not where an installed program will find it
    site = os.path.dirname(str(backend.origin)) if backend else sysconfig.get_path("purelib")
    parent = os.path.dirname(package)
    target = os.path.join(package, "_bin/hot.bin")
    pack = os.path.join(HERE, LAUNCHER_SOURCES, "pack.py")
    run(python_macros("")["OCIRT_PYTHON_EXE"], "-I", "-S", "-X", "no_debug_ranges", pack, parent, site, target)


class BuildPy(build_py):
    """Adds the generated module, the init and spec/ to the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            build_in_place(self.distribution.get_version())
            return
        package = os.path.abspath(os.path.join(self.build_lib, "ocirt"))
        generate_schema(os.path.join(package, "config/_schema.py"))
        build_init(os.path.join(package, "_bin"))
        shutil.copytree(os.path.join(HERE, "spec"), os.path.join(package, "spec"), dirs_exist_ok=True)
        write_commit(package)


class BuildExt(build_ext):
    """`build_ext --inplace` builds all that a checkout needs to run."""

    def build_extensions(self) -> None:
        flags, link = compile_flags("shim", HERE), link_flags("shim")
        for extension in self.extensions:
            extension.extra_compile_args += flags
            extension.extra_link_args += [*flags, *link]
        if forget_if_changed("shim", [*compiler(), *flags, *link]):
            self.force = True
        super().build_extensions()

    def run(self) -> None:
        super().run()
        if self.inplace:
            build_in_place(self.distribution.get_version())
        else:
            pack_modules(os.path.abspath(os.path.join(self.build_lib, "ocirt")))


class Sdist(sdist):
    """Carries the commit along, which is not found out any more where the sdist is built."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(os.path.join(base_dir, "ocirt"))


class BuildScripts(Command):
    """The launcher is a native program: nothing to copy, no first line to adjust as setuptools would."""

    user_options: ClassVar[list[tuple[str, str | None, str]]] = [("build-dir=", "d", "directory to build in")]
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_dir = ""

    def finalize_options(self) -> None:
        self.build_dir = self.build_dir or self.get_finalized_command("build").build_scripts

    def run(self) -> None:
        target = os.path.abspath(os.path.join(self.build_dir, PROGRAM))
        if not self.editable_mode:
            build_launcher(target, self.distribution.get_version())
            return
        os.makedirs(self.build_dir, exist_ok=True)
        with open(target, "w", encoding="utf-8") as script:
            script.write(f'#!/bin/sh\nexec {shlex.quote(os.path.join(HERE, "ocirt/_bin", PROGRAM))} "$@"\n')
        os.chmod(target, 0o755)  # noqa: S103 a program

    def get_source_files(self) -> list[str]:
        sources, included = c_files(LAUNCHER_SOURCES)
        return [*sources, *included]


def write_commit(package: str) -> None:
    """COMMIT in the package's directory, from that of the sources or from git; nothing where neither knows."""
    carried = os.path.join(HERE, "ocirt", "COMMIT")
    if os.path.exists(carried):
        shutil.copyfile(carried, os.path.join(package, "COMMIT"))
        return
    if not os.path.exists(os.path.join(HERE, ".git")):
        return
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return
    with open(os.path.join(package, "COMMIT"), "w", encoding="ascii") as file:
        file.write(done.stdout)


def build_in_place(version: str) -> None:
    """Programs into ocirt/_bin, the generated module into ocirt/config."""
    generate_schema(os.path.join(HERE, "ocirt/config/_schema.py"))
    directory = os.path.join(HERE, "ocirt/_bin")
    build_init(directory)
    pack_modules(os.path.join(HERE, "ocirt"))
    build_launcher(os.path.join(directory, PROGRAM), version, sysconfig.get_path("purelib"))


setup(
    cffi_modules=[f"ocirt/linux/_build.py:{name}" for name in ("kernel", "seccomp", "systemd")],
    scripts=[PROGRAM],
    cmdclass={"build_py": BuildPy, "build_ext": BuildExt, "build_scripts": BuildScripts, "sdist": Sdist},
)
