"""As much of CUDA's driver API as it takes to hold memory and keep a GPU busy. It needs the driver, and no toolkit."""

from __future__ import annotations

from ctypes import (
    CDLL,
    POINTER,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint64,
    c_void_p,
    create_string_buffer,
)
from typing import Any

_LIBRARY = "libcuda.so.1"
# CUdevice is an int, CUcontext a pointer, CUdeviceptr 64 bits wide; each function returns a CUresult, an int.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetUuid": (c_void_p, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemsetD8_v2": (c_uint64, c_ubyte, c_size_t),
    "cuMemcpyDtoD_v2": (c_uint64, c_uint64, c_size_t),
}


class CudaError(Exception):
    """CUDA cannot be used, or refused a call; the message is one line."""


class Cuda:
    """The primary context of the first device in CUDA_VISIBLE_DEVICES, current in the thread that made it.

    Sizes are bytes; device memory is known by its address.

    Raises:
        CudaError: by every method, when the driver refuses.
    """

    def __init__(self) -> None:
        try:
            self._library = CDLL(_LIBRARY)
        except OSError:
            raise CudaError(
                f"CUDA's driver library {_LIBRARY} is not found: a container needs the `compute` capability "
                "(NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
            ) from None
        for name, types in _FUNCTIONS.items():
            function = getattr(self._library, name, None)
            if function is None:
                raise CudaError(f"this {_LIBRARY} has no {name}")
            function.argtypes, function.restype = types, c_int
        self._call("cuInit", 0)
        device, context = c_int(), c_void_p()
        self._call("cuDeviceGet", byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._device = device

    def uuid(self) -> str:
        """The device as NVML knows it: ``GPU-8932f937-...``; for a MIG instance it may be that of its GPU."""
        raw = create_string_buffer(16)
        self._call("cuDeviceGetUuid", raw, self._device)
        text = raw.raw.hex()
        return "GPU-" + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def allocate(self, size: int) -> int:
        """The address of new memory; nothing is written to it."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), size)
        return address.value

    def free(self, address: int) -> None:
        """Gives memory back, after all work on the device has ended."""
        self._call("cuMemFree_v2", address)

    def fill(self, address: int, size: int) -> None:
        """Has zeros written; it may return before they are."""
        self._call("cuMemsetD8_v2", address, 0, size)

    def copy(self, target: int, source: int, size: int) -> None:
        """Has device memory copied on the device; it may return before it is."""
        self._call("cuMemcpyDtoD_v2", target, source, size)

    def synchronize(self) -> None:
        """Waits until all work on the device has ended."""
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise CudaError(f"{name} failed: {self._name_of(code)}")

    def _name_of(self, code: int) -> str:
        text = c_char_p()
        if self._library.cuGetErrorName(code, byref(text)) or text.value is None:
            return f"CUDA error {code}"
        return text.value.decode()
