"""Asks for a URL so many times, each on a connection of its own; prints a line of status and milliseconds for each."""

import sys
import time
import urllib.error
import urllib.request

url, times = sys.argv[1], int(sys.argv[2])
for _ in range(times):
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        status = type(error).__name__
    print(status, round((time.monotonic() - begun) * 1000, 1), flush=True)
