"""DLPack, the memory layout by which array libraries lend each other tensors without a copy.

Source: dlpack.h of DLPack 1.0; the unversioned struct is what every library reads.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

CPU, CUDA = 1, 2
"""Device types."""

KINDS = {"i": 0, "u": 1, "f": 2, "b": 6}
NAMES = {code: kind for kind, code in KINDS.items()}


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_NEW, _USED = b"dltensor", b"used_dltensor"
_api: Any = ctypes.pythonapi
_CapsuleDestructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = _api["PyCapsule_New"]
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _CapsuleDestructor]
_is_valid = _api["PyCapsule_IsValid"]
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_get_pointer = _api["PyCapsule_GetPointer"]
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_set_name = _api["PyCapsule_SetName"]
_set_name.restype, _set_name.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
# In its destructor a capsule has no reference left to count: it is handed on as an address.
_is_valid_at = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_get_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_lent: dict[int, tuple[object, ...]] = {}
"""What must live until the borrower calls the deleter, by the address of the struct."""


def _delete(managed: Any) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


def _destroy(capsule: int) -> None:
    """Release the tensor of a capsule that was never consumed."""
    if _is_valid_at(capsule, _NEW):
        _lent.pop(_get_pointer_at(capsule, _NEW), None)


_delete_callback, _destroy_callback = _Deleter(_delete), _CapsuleDestructor(_destroy)


class Taken:
    """A tensor of another library, given back when this is collected."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Bytes."""
    dtype: np.dtype[Any]

    def __init__(self, address: int) -> None:
        self._managed: _Managed | None = _Managed.from_address(address)
        tensor = self._managed.tensor
        kind, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
        if kind not in NAMES or lanes != 1 or bits % 8:
            self.__del__()
            raise BufferError(f"got a DLPack tensor of type code {kind}, {bits} bits, {lanes} lanes, expected numbers")
        self.dtype = np.dtype(f"{NAMES[kind]}{bits // 8}")
        self.shape = tuple(tensor.shape[: tensor.ndim])
        if tensor.strides:
            self.strides = tuple(step * self.dtype.itemsize for step in tensor.strides[: tensor.ndim])
        else:
            self.strides = dense_strides(self.shape, self.dtype.itemsize)
        self.pointer = (tensor.data or 0) + tensor.byte_offset

    def __del__(self) -> None:
        managed, self._managed = getattr(self, "_managed", None), None
        if managed is not None and managed.deleter:
            managed.deleter(ctypes.pointer(managed))


class _Lent(NamedTuple):
    managed: _Managed
    shape: Any
    strides: Any
    owner: object


def export(
    pointer: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype[Any],
    device: tuple[int, int],
    owner: object,
) -> object:
    """A capsule "dltensor" over memory; ``owner`` lives until the borrower gives it back. Strides are in bytes."""
    if dtype.kind not in KINDS or any(step % dtype.itemsize for step in strides):
        raise BufferError(f"DLPack cannot describe {dtype} with strides {strides}")
    axes = len(shape)
    sizes = (ctypes.c_int64 * axes)(*shape)
    steps = (ctypes.c_int64 * axes)(*(step // dtype.itemsize for step in strides))
    managed = _Managed()
    managed.tensor = _Tensor(
        pointer,
        _Device(*device),
        axes,
        _DataType(KINDS[dtype.kind], dtype.itemsize * 8, 1),
        ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)),
        ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64)),
        0,
    )
    managed.deleter = _delete_callback
    address = ctypes.addressof(managed)
    _lent[address] = _Lent(managed, sizes, steps, owner)
    capsule: object = _new_capsule(address, _NEW, _destroy_callback)
    return capsule


def take(capsule: object) -> Taken:
    """Take the tensor out of a capsule "dltensor"."""
    if not _is_valid(capsule, _NEW):
        raise BufferError(f"got {capsule!r}, expected an unused DLPack capsule of the unversioned kind")
    address = _get_pointer(capsule, _NEW)
    _set_name(capsule, _USED)
    return Taken(address)


def dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of a C-contiguous array."""
    strides = []
    for length in reversed(shape):
        strides.append(itemsize)
        itemsize *= max(length, 1)
    return tuple(reversed(strides))
