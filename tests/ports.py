"""Ports for the programs that tests start and start again.

They lie below those that systems hand out by themselves (Linux from 32768, macOS from 49152), so nobody's connection
takes one between two starts.
"""

import random
import socket
from contextlib import suppress

RANGE = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody has at this moment, another one each time."""
    while True:
        port = random.choice(RANGE)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
