"""Builds a C program of this folder against libmcs.a and talks to it over pipes."""
import os
import subprocess

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("MCS_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))


def build(name):
    """The path of tests/parity/<name>.c, built."""
    subprocess.check_call(["make", "-s", "libmcs.a"], cwd=ROOT)
    exe = os.path.join(ROOT, "build", name)
    libs = ["openblas", "zlib", "jansson", "libpng", "libjpeg", "libutf8proc"]
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs"] + libs).decode().split()
    subprocess.check_call(["cc", "-std=c11", "-O2", "-I" + ROOT, "-o", exe, os.path.join(ROOT, "tests", "parity", name + ".c"),
                           os.path.join(ROOT, "libmcs.a")] + flags + ["-lm", "-pthread"])
    return exe


class Native:
    def __init__(self, name):
        self.p = subprocess.Popen([build(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words, data=()):
        self.p.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        for d in data:
            self.p.stdin.write(np.ascontiguousarray(d).tobytes())
        self.p.stdin.flush()

    def take(self, dtype, count):
        raw = self.p.stdout.read(np.dtype(dtype).itemsize * count)
        return np.frombuffer(raw, dtype)
