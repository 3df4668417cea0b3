"""Run as a program in the place: a stream of the CRI's Exec or Attach, as kubectl has it, over a websocket.

cri_stream.py URL [INPUT]      prints each message as its channel (1 stdout, 2 stderr, 3 error) and its text
"""

from __future__ import annotations

import sys

import websocket


def main() -> None:
    """Talk until the other side closes."""
    url = sys.argv[1].replace("http://", "ws://")
    stream = websocket.create_connection(url, subprotocols=["v4.channel.k8s.io"], timeout=20)
    if len(sys.argv) > 2:
        stream.send_binary(b"\0" + sys.argv[2].encode())
    while True:
        try:
            data = stream.recv()
        except websocket.WebSocketConnectionClosedException:
            return
        if not data:
            return
        raw = data if isinstance(data, bytes) else data.encode()
        if raw[1:]:
            print(raw[0], raw[1:].decode(errors="replace").strip(), flush=True)


if __name__ == "__main__":
    main()
