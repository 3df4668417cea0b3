# The cffi module that setup.py generates for sd-bus. cgroup/dbus.py gives its functions their types.
from typing import Any

ffi: Any
lib: Any
