"""Runs tests/parity/image_tool.c, built on first use, as a co-process."""
import os
import subprocess

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("MCS_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))


class Tool:
    def __init__(self):
        subprocess.check_call(["make", "-s", "libmcs.a"], cwd=ROOT)
        exe = os.path.join(ROOT, "build", "image_tool")
        libs = subprocess.check_output(["pkg-config", "--libs", "libpng", "libjpeg", "openblas"]).decode().split()
        subprocess.check_call(["cc", "-std=c11", "-O2", "-I" + ROOT, "-o", exe,
                               os.path.join(ROOT, "tests", "parity", "image_tool.c"),
                               os.path.join(ROOT, "libmcs.a")] + libs + ["-lm", "-pthread"])
        self.p = subprocess.Popen([exe], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, *fields, data=b""):
        """The answer as an array (h, w, c), or the message as a str."""
        self.p.stdin.write("\t".join(map(str, fields)).encode() + b"\n" + data)
        self.p.stdin.flush()
        head = self.p.stdout.readline().decode()
        if head.startswith("error"):
            return head.strip()
        h, w, c, size = map(int, head.split())
        raw = self.p.stdout.read(h * w * c * size)
        return np.frombuffer(raw, {1: np.uint8, 2: np.uint16, 4: np.float32}[size]).reshape(h, w, c)
