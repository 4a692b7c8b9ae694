"""How many compiled products oneDNN keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loratory.tuning.primitives import NAMES, bound

GROWN = """
import ctypes
import torch
from loratory.tuning.fused import gemm

class Info(ctypes.Structure):
    _fields_ = [(str(i), ctypes.c_size_t) for i in range(7)] + [("used", ctypes.c_size_t)]
    _fields_ += [(str(i), ctypes.c_size_t) for i in range(8, 10)]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
weight = torch.randn(96, 64).bfloat16()
there = gemm.reordered(weight)

def multiply(sizes):
    for size in sizes:
        gemm.reordered_product(torch.ones(size, 64).bfloat16(), there)

multiply(range(1, 150))
before = libc.mallinfo2().used
multiply(range(150, 500))
print(libc.mallinfo2().used - before)
"""


def grown(**variables):
    """How many bytes more a process uses after products of 350 new shapes."""
    named = {name for names in NAMES for name in names}
    plain = {name: value for name, value in os.environ.items() if name not in named}
    done = subprocess.run(
        [sys.executable, "-c", GROWN],
        env={**plain, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no glibc, or no products of bfloat16: {done.stderr[-200:]}")
    return int(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_every_shape_of_a_product():
    all_kept = grown(**{names[0]: "1024" for names in NAMES})
    if all_kept < 2**24:
        pytest.skip("this processor compiles next to nothing for a shape")
    assert grown() < all_kept / 10


def test_what_the_environment_says_is_left():
    environ = {"DNNL_PRIMITIVE_CACHE_CAPACITY": "7"}
    bound(environ)
    assert environ == {"DNNL_PRIMITIVE_CACHE_CAPACITY": "7", "LRU_CACHE_CAPACITY": "128"}
    environ = {}
    bound(environ)
    assert environ == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
