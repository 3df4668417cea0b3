"""`ocirt create`: flags → container.create; also what create and run have in common."""

from __future__ import annotations

from ocirt.cli.main import absolute
from ocirt.container.prepare import Options as CreateOptions
from ocirt.container.prepare import bundle_path
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options

# Descriptors go up to sysctl fs.nr_open, a million by default: proc_sys_fs(5).
_MAX_FDS = 1 << 20


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Create the container; return 0 once it waits for start."""
    from ocirt.container.create import create

    create(globals_.root, arguments[0], bundle_given(options), options=create_options(globals_, options))
    return 0


def create_options(globals_: Global, options: Options) -> CreateOptions:
    """Translate the flags that create and run share; paths are made absolute. Raises UsageError."""
    return CreateOptions(
        config=path_option(options, "config"),
        pid_file=path_option(options, "pid_file"),
        console_socket=path_option(options, "console_socket"),
        no_pivot=bool(options.get("no_pivot")),
        new_keyring=not options.get("no_new_keyring"),
        preserve_fds=preserved_fds(options),
        manager=globals_.cgroup_manager,
        pidfd_socket=path_option(options, "pidfd_socket"),
    )


def path_option(options: Options, key: str) -> str | None:
    """Return the path given for `key`, absolute, or None where none or an empty one was given."""
    value = options.get(key)
    return absolute(str(value), key.replace("_", "-")) if value else None


def bundle_given(options: Options) -> str:
    """Return the bundle's absolute path, the current directory by default."""
    return absolute(str(options.get("bundle") or "."), "bundle")


def bundle_option(options: Options) -> str:
    """Return the bundle's absolute path, the current directory by default; raises BundleError if it is no directory."""
    return bundle_path(bundle_given(options))


def preserved_fds(options: Options) -> int:
    """Return N of --preserve-fds; raises UsageError where it is no count."""
    text = str(options.get("preserve_fds", "0"))
    if not (text.isascii() and text.isdigit()) or len(text) > 7 or int(text) > _MAX_FDS:
        raise UsageError(f'flag --preserve-fds: "{text}" is not a number from 0 to {_MAX_FDS}')
    return int(text)
