"""Opens connections of one kind and keeps them; opens each anew that the other end closes. Ends with its standard input.

    flood.py HOST:PORT KIND CONNECTIONS OPENED [PATH]

Prints "ready" once it has opened so many altogether, or no more of them are taken.
"""

import os
import select
import socket
import sys
import time

address, kind, connections, opened_min = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
path = sys.argv[5] if len(sys.argv) > 5 else "/"
host, port = address.split(":")
HANDSHAKE = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
POST = f"POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\nContent-Length: 1000000\r\n"
# What is sent first, and then again and again.
KINDS = {
    "silent": ("", ""),
    "churn": ("", ""),
    "slow-head": (f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Slow: ", "x"),
    "slow-body": (POST + "\r\n", "x"),
    "idle": (f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n", ""),
    "websocket": (HANDSHAKE, ""),
    "preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
}
first, drip = (text.encode() for text in KINDS[kind])
poll, sockets, opened = select.epoll(), {}, 0


def start():
    stream = socket.socket()
    stream.setblocking(False)
    stream.connect_ex((host, int(port)))
    sockets[stream.fileno()] = stream
    poll.register(stream, select.EPOLLOUT)


def drop(fd):
    poll.unregister(fd)
    sockets.pop(fd).close()


def established(fd):
    global opened
    opened += 1
    if first:
        sockets[fd].send(first)
    poll.modify(fd, select.EPOLLIN)
    if kind == "churn":
        drop(fd)


poll.register(0, select.EPOLLHUP)
os.set_blocking(0, False)
ready, dripped, progress = False, 0.0, time.monotonic()
while True:
    # At most 5,000 a second, then 1,000: it is places that are to run out, not the processor.
    for _ in range(min(20 if ready else 100, connections - len(sockets))):
        start()
    for fd, event in poll.poll(0.05):
        if fd == 0:
            sys.exit()
        try:
            if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                established(fd)
                progress = time.monotonic()
            elif event & (select.EPOLLERR | select.EPOLLHUP) or not sockets[fd].recv(65536):
                drop(fd)
        except OSError:
            drop(fd)
    now = time.monotonic()
    if drip and now - dripped > 0.5:
        dripped = now
        for stream in list(sockets.values()):
            try:
                stream.send(drip)
            except OSError:
                pass
    if not ready and (opened >= opened_min or now - progress > 2):
        ready = True
        print("ready", opened, flush=True)
    time.sleep(0.02)
