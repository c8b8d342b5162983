"""The images' health check: exit status 0 if what this container runs answers at $GPUARRAY_HEALTH.

That is ``tcp://host:port`` for something that must listen, ``http://host:port/path`` for something that must say 200.
Without it, gpuarray must import.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.parse
import urllib.request

TIMEOUT = 5


def main() -> int:
    target = os.environ.get("GPUARRAY_HEALTH", "")
    if not target:
        import gpuarray  # noqa: F401

        return 0
    url = urllib.parse.urlsplit(target)
    try:
        if url.scheme in ("tcp", "tls"):
            socket.create_connection((url.hostname or "127.0.0.1", url.port or 8786), TIMEOUT).close()
        elif url.scheme == "http":
            # not through a proxy: the target is this container
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(target, timeout=TIMEOUT) as answer:
                return 0 if answer.status == 200 else 1
        else:
            print(f"GPUARRAY_HEALTH={target!r}: write tcp://host:port or http://host:port/path", file=sys.stderr)
            return 2
    except OSError as error:
        print(f"{target}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
