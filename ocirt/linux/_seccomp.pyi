# The cffi module that setup.py builds on libseccomp. linux/seccomp.py gives its functions their types.
from typing import Any

ffi: Any
lib: Any
