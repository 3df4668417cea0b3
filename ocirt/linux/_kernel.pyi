# The cffi module that setup.py builds from shim.h, launcher/quick.h, perform/*.h and spawn/init/wire.h.
# linux/calls.py and container/quick.py give its functions their types.
from typing import Any

ffi: Any
lib: Any
