"""Builds the cffi modules `_kernel` (shim and quick verbs), `_seccomp` and `_systemd`; run by setup.py only.

The numbers of operations, slots, messages and flags come from spawn/init/ops.def and wire.h: stated once, in C.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
PACKAGE = HERE.parent
INIT = PACKAGE / "spawn" / "init"
LAUNCHER = PACKAGE / "launcher"
PERFORM = PACKAGE / "perform"

LINUX = sorted(path.name for path in HERE.glob("*.c"))  # setup.py links the same to the launcher

# What the runtime's side of a container is done by, in Python and in the launcher
PERFORMER = sorted(path.name for path in PERFORM.glob("*.c"))

# The quick verbs; the rest of launcher/ is the program around them.
QUICK = ["quick.c", "delete.c", "record.c", "lines.c", "names.c", "trust.c"]


def between_marks(header: Path) -> str:
    """The declarations that a header offers to cffi."""
    found = re.search(r"/\* cdef begins \*/(.*?)/\* cdef ends \*/", header.read_text(), re.DOTALL)
    if found is None:
        raise ValueError(f"{header}: no cdef marks")
    return found[1]


def operations(file: str = "ops.def") -> str:
    """The operations of one side as "name:kinds name:kinds …", in the order of the file, which is their numbering."""
    text = re.sub(r"/\*.*?\*/", "", (INIT / file).read_text(), flags=re.DOTALL)
    return " ".join(f"{name}:{kinds}" for name, kinds in re.findall(r'OP\((\w+),\s*"(\w*)"\)', text))


def state_members() -> str:
    """The members of state.json as "name:kind name:kind …", in the order of its lines."""
    found = re.findall(
        r'^MEMBER\(\w+,\s*" *",\s*"(\w+)",\s*(\w+)\)', (LAUNCHER / "state.def").read_text(), re.MULTILINE
    )
    return " ".join(f"{name}:{kind}" for name, kind in found)


def wire_names() -> list[str]:
    """Every enumerator and limit of wire.h."""
    text = re.sub(r"/\*.*?\*/", "", (INIT / "wire.h").read_text(), flags=re.DOTALL)
    bodies = ",".join(re.findall(r"enum \{(.*?)\};", text, re.DOTALL))
    names = [item.split("=")[0].strip() for item in bodies.split(",")]
    names += ["SLOT_COUNT", "SLOT_PLAN", "SLOT_BELL", "SLOT_CGROUP", "SLOT_TARGET", "SLOT_REPORT"]
    names += ["OP_MAX_ARGS", "PLAN_MAX", "HOST_PLAN_MAX", "MESSAGE_HEAD", "REPORT_SIZE", "MSG_TEXT_MAX", "MSG_FDS_MAX"]
    return [name for name in names if name]


def kernel() -> FFI:
    """The module ocirt.linux._kernel."""
    ffi = FFI()
    ffi.cdef("\n".join(f"#define {name} ..." for name in wire_names()))  # cffi: the compiler knows the value
    ffi.cdef("static const char *const ocirt_operations, *const ocirt_host_operations, *const ocirt_state_members;")
    ffi.cdef("static const uint64_t ocirt_plan_magic;")
    ffi.cdef(
        "struct message { uint32_t type; uint32_t value; uint32_t error; uint32_t detail; char text[1024]; };"
        + between_marks(HERE / "shim.h")
        + between_marks(LAUNCHER / "quick.h")
        + between_marks(PERFORM / "perform.h")
        + between_marks(PERFORM / "shape.h")
    )
    ffi.set_source(
        "ocirt.linux._kernel",
        f"""
        #include "linux/shim.h"
        #include "launcher/quick.h"
        #include "perform/perform.h"
        #include "perform/shape.h"
        #include "spawn/init/wire.h"
        static const char *const ocirt_operations = "{operations()}";
        static const char *const ocirt_host_operations = "{operations("host_ops.def")}";
        static const char *const ocirt_state_members = "{state_members()}";
        static const uint64_t ocirt_plan_magic = PLAN_MAGIC;
        """,
        sources=[
            *(f"ocirt/linux/{name}" for name in LINUX),
            *(f"ocirt/perform/{name}" for name in PERFORMER),
            *(f"ocirt/launcher/{name}" for name in QUICK),
            "ocirt/spawn/init/plan.c",
        ],
        include_dirs=["ocirt"],
        depends=[str(path) for directory in (HERE, LAUNCHER, PERFORM, INIT) for path in directory.glob("*.[hd]*")],
    )
    return ffi


def seccomp() -> FFI:
    """The module ocirt.linux._seccomp: what linux/seccomp.py needs of libseccomp, and no more."""
    ffi = FFI()
    ffi.cdef(
        """
        typedef void *scmp_filter_ctx;
        typedef uint64_t scmp_datum_t;
        struct scmp_arg_cmp { unsigned int arg; int op; scmp_datum_t datum_a; scmp_datum_t datum_b; };
        scmp_filter_ctx seccomp_init(uint32_t def_action);
        void seccomp_release(scmp_filter_ctx ctx);
        int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
        int seccomp_attr_set(scmp_filter_ctx ctx, int attr, uint32_t value);
        uint32_t seccomp_arch_native(void);
        int seccomp_syscall_resolve_name(const char *name);
        int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
        int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt,
                                   const struct scmp_arg_cmp *arg_array);
        int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
        struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; };
        const struct scmp_version *seccomp_version(void);
        """
    )
    ffi.set_source("ocirt.linux._seccomp", "#include <seccomp.h>", libraries=["seccomp"])
    return ffi


def systemd() -> FFI:
    """The module ocirt.linux._systemd: what cgroup/dbus.py calls of sd-bus(3).

    Declarations alone, no C: the library is opened when it is needed, so nothing is linked with it.
    """
    ffi = FFI()
    ffi.cdef(
        """
        typedef ... sd_bus;
        typedef ... sd_bus_message;
        typedef struct { const char *name; const char *message; int _need_free; } sd_bus_error;
        int sd_bus_new(sd_bus **ret);
        int sd_bus_set_address(sd_bus *bus, const char *address);
        int sd_bus_set_bus_client(sd_bus *bus, int b);
        int sd_bus_start(sd_bus *bus);
        sd_bus *sd_bus_close_unref(sd_bus *bus);
        int sd_bus_process(sd_bus *bus, sd_bus_message **ret);
        int sd_bus_wait(sd_bus *bus, uint64_t timeout_usec);
        int sd_bus_send(sd_bus *bus, sd_bus_message *m, uint64_t *ret_cookie);
        int sd_bus_message_new_method_call(sd_bus *bus, sd_bus_message **ret, const char *destination, const char *path,
                                           const char *interface, const char *member);
        sd_bus_message *sd_bus_message_unref(sd_bus_message *m);
        int sd_bus_message_get_reply_cookie(sd_bus_message *m, uint64_t *ret);
        int sd_bus_message_is_signal(sd_bus_message *m, const char *interface, const char *member);
        const sd_bus_error *sd_bus_message_get_error(sd_bus_message *m);
        const char *sd_bus_message_get_signature(sd_bus_message *m, int complete);
        int sd_bus_message_append_basic(sd_bus_message *m, char type, const void *p);
        int sd_bus_message_open_container(sd_bus_message *m, char type, const char *contents);
        int sd_bus_message_close_container(sd_bus_message *m);
        int sd_bus_message_read_basic(sd_bus_message *m, char type, void *p);
        int sd_bus_message_enter_container(sd_bus_message *m, char type, const char *contents);
        int sd_bus_message_exit_container(sd_bus_message *m);
        """
    )
    ffi.set_source("ocirt.linux._systemd", None)
    return ffi
