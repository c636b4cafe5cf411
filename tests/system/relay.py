"""A recorder for the wire: a TCP relay that keeps every byte of both directions, and a decoder for what
clients send. Stands between a driver and pgkeep, or between pgkeep and PostgreSQL."""

import contextlib
import selectors
import socket
import struct
import threading

import pk


class Conversation:
    """One connection, as seen from the middle."""

    def __init__(self):
        self.asked = bytearray()     # from the client
        self.answered = bytearray()  # from the server

    def messages(self):
        """What the client sent after its start-up packet: kind and body, whole messages only."""
        found, at = [], 0
        while len(self.asked) - at >= 8:  # start-up packets have no kind; a request for TLS may come first
            size, code = struct.unpack_from("!II", self.asked, at)
            at += size
            if code >> 16 == 3:
                break
        while len(self.asked) - at >= 5:
            size = struct.unpack_from("!I", self.asked, at + 1)[0] + 1
            if len(self.asked) - at < size:
                break
            found.append((bytes(self.asked[at:at + 1]), bytes(self.asked[at + 5:at + size])))
            at += size
        return found


class Relay:
    """Listens on a port of its own and passes everything on to `target`."""

    def __init__(self, target):
        self.target = target
        self.conversations = []
        self.listener = socket.create_server((pk.HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed
                return
            conversation = Conversation()
            with self.lock:
                self.conversations.append(conversation)
            threading.Thread(target=self.carry, args=(client, conversation), daemon=True).start()

    def carry(self, client, conversation):
        with contextlib.suppress(OSError), client, \
                socket.create_connection((pk.HOST, self.target)) as server, \
                selectors.DefaultSelector() as both:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            both.register(client, selectors.EVENT_READ, (server, conversation.asked))
            both.register(server, selectors.EVENT_READ, (client, conversation.answered))
            while True:
                for key, _ in both.select():
                    other, record = key.data
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    record += data
                    other.sendall(data)

    def asked(self):
        """Every byte that clients sent."""
        with self.lock:
            return b"\n".join(bytes(c.asked) for c in self.conversations)

    def everything(self):
        with self.lock:
            return b"\n".join(bytes(c.asked + b"\n" + c.answered) for c in self.conversations)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def text_up_to_zero(body, at):
    end = body.index(b"\0", at)
    return body[at:end].decode("utf-8", "surrogateescape"), end + 1


def decode_parse(body):
    """The name of the statement and its text."""
    name, at = text_up_to_zero(body, 0)
    return name, text_up_to_zero(body, at)[0]


def decode_bind(body):
    """The name of the statement and the values, None for NULL."""
    _, at = text_up_to_zero(body, 0)
    statement, at = text_up_to_zero(body, at)
    formats = struct.unpack_from("!H", body, at)[0]
    at += 2 + 2 * formats
    count = struct.unpack_from("!H", body, at)[0]
    at += 2
    values = []
    for _ in range(count):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        values.append(None if size < 0 else body[at:at + size])
        at += max(size, 0)
    return statement, values


def bound(conversation):
    """Every Bind of a conversation with the text that it binds to: (text, values) in order."""
    texts, found = {}, []
    for kind, body in conversation.messages():
        if kind == b"P":
            name, text = decode_parse(body)
            texts[name] = text
        elif kind == b"B":
            name, values = decode_bind(body)
            found.append((texts.get(name, ""), values))
    return found
