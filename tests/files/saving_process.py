"""A process that writes two versions of a file by turns, until it is killed."""

from __future__ import annotations

import sys

from ydoc_exec.files.replacement import Replacement

path, size = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        replacement = Replacement.begin(path)
        assert replacement is not None
        for _ in range(10):
            replacement.file.write(letter * (size // 10))
        replacement.settle("sha256")
        replacement.take_place()
