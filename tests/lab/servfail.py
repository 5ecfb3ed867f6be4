"""Answer every DNS question that arrives at an address (the only argument) with SERVFAIL."""

from __future__ import annotations

import socket
import sys

QR, RA_SERVFAIL = 0x80, 0x82

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 53))
    sys.stderr.write("ready\n")
    while True:
        question, client = server.recvfrom(65535)
        server.sendto(question[:2] + bytes([question[2] | QR, RA_SERVFAIL]) + question[4:], client)
