#!/usr/bin/env python3
"""Replays wire scripts against the real proxy binary, playing both the client and the PostgreSQL behind.

    run.py BINARY SCENARIO.wire [--verbose]

A scenario is a list of lines, done in order; '#' begins a comment. C is the client, B the backend;
further clients are D and F, further backend connections are E and G.

    C> MESSAGE        the client sends        B> MESSAGE    the backend sends
    C< MESSAGE        it must receive this    B< MESSAGE    likewise
    C= eof            it must see the end     B= eof
    C= silence        nothing may come for a moment
    C. close|reset|half    it closes; half: it only says that it will send no more
    C> hex 00 00      raw bytes; "C> join": the messages up to "C> send" go out in one piece
    C drip            from here on its bytes go out one at a time
    C stuff MAX MESSAGE    it sends this again and again, until it has no room left; that is before MAX bytes
    C tls [alpn=NAME] [refused]   begins TLS as a client, B as the server; needs "certificate" in the first lines,
                      which makes $dir/cert.pem and $dir/key.pem
    C open [unix] [from=ADDRESS]   a new connection (made by the first line that needs it otherwise); over the
                      Unix socket; from this address of the host
    login [user=.. encoding=.. scs=.. reported=..]   the usual start of a session, C and B
    check TAG [tx]    B receives the stand-in for TAG and answers it; tx is the status (I)
    standin NAME TAG [n [TYPES]]   B receives the stand-in of a Parse of ours with n parameters, both get on
    bound PORTAL NAME [n]          B is asked for the statement, then receives a Bind of n NULLs
    ran PORTAL [LIMIT]             B receives the Execute and answers our row
    error SQLSTATE TEXT [..]       B receives the Execute of nothing and fails, C receives this error
    refused HEX                    a session, in which the client sends this and is told 08P01 and closed
    disbelieved HEX                a session, in which the server sends this and the client is told 08006
    never TEXT                     B has received nothing with this in it
    nobody                         no connection to the backend waits to be taken
    patience SECONDS               so long is everything waited for, instead of ten seconds
    forgotten TEXT                 the proxy's memory does not hold it
    files N                        the proxy may have so many descriptors; in the first lines
    log TEXT          this must appear in the proxy's log; "logged N TEXT": so many times
    until STATE       wait: that is where the last session that moved has got to (LOCAL: the engine has a request)
    args ARG..        arguments of the proxy, $dir is its directory; in the first lines
    file LINE         of its configuration file; in the first lines it starts with them, later they are the new
                      file, which "hup" writes before it sends SIGHUP. With $backend it is there that the
                      backend is named
    listen ADDRESS    the proxy listens there as well; in the first lines
    loops N [even]    the proxy has so many event loops; every loop has as many sessions as the others, or one less
    storm N           N clients at once log in, ask three questions each, get the answers to theirs, wait for all
                      others and check that the loops share them; then they leave
    split             run it again for every offset at which the bytes sent by C or B can be cut
    crowd N [startup|cancel] N more clients connect and say nothing, or that much; "disperse": they go
    sleep SECONDS, term, signal NAME, exit CODE, no-backend, self-backend (the proxy's backend is the proxy),
    unix-backend (the backend is a Unix socket)

Messages: a type letter and its fields. Q "sql"; P name "sql" TYPES..; D S name; E portal LIMIT; C S name;
B portal name VALUES.. (NULL, x:00ff for bytes, in=0,1 and out=1 for formats);
S; H; X; d "data"; c; f "why"; F; p "password"; Qhex HEX "text", Qmany "piece" N "tail", Ptypes name "sql" N,
Pname N "sql", Bname N statement VALUES.. (names of N bytes); $padN in a field: N times x. From the server: R n; K pid key; S name value; Z status;
T cols.. (name or name:type:format; TT to receive the latter, DX to receive hex); D values..; C "tag"; E severity code "message"; N ..; 1 2 3 n t I s; G H W; A pid channel payload.
In what must be received a field may be a regular expression ~"..", whose (?P<name>..) can be used as $name
later, and * stands for all further fields. 3* before a message repeats it.
"""
import asyncio, os, re, resource, select, shlex, signal, socket, ssl, struct, subprocess, sys, tempfile, time

PATIENCE = 10.0
SILENCE = 0.15


class Failed(Exception):
    pass


def cstr(text):
    return text.encode('utf-8', 'surrogateescape') + b'\0'


def msg(kind, body=b''):
    return kind.encode() + struct.pack('>I', len(body) + 4) + body


def startup(fields):
    version = 196608
    body = b''
    for field in fields:
        name, _, value = field.partition('=')
        if name == 'version':
            version = int(value, 0)
        else:
            body += cstr(name) + cstr(value)
    body = struct.pack('>I', version) + body + b'\0'
    return struct.pack('>I', len(body) + 4) + body


def values(fields):
    out = struct.pack('>H', len(fields))
    for field in fields:
        if field == 'NULL':
            out += struct.pack('>i', -1)
        else:
            raw = field.startswith('x:')
            data = bytes.fromhex(field[2:]) if raw else field.encode('utf-8', 'surrogateescape')
            out += struct.pack('>I', len(data)) + data
    return out


def columns(fields):
    out = struct.pack('>H', len(fields))
    for field in fields:
        name, kind, form = (field.split(':') + ['25', '0'])[:3] if ':' in field else (field, 25, 0)
        out += cstr(name) + struct.pack('>IHIHIH', 0, 0, int(kind), 0xffff, 0xffffffff, int(form))
    return out


def formats(fields, key):
    codes = [int(x) for f in fields if f.startswith(key) for x in f[len(key):].split(',') if x]
    return struct.pack(f'>{len(codes) + 1}H', len(codes), *codes)


def bind(f):
    given = [x for x in f[2:] if not re.match('(in|out)=', x)]
    return cstr(f[0]) + cstr(f[1]) + formats(f, 'in=') + values(given) + formats(f, 'out=')


def report(kind, fields):
    body = b'S' + cstr(fields[0]) + b'V' + cstr(fields[0]) + b'C' + cstr(fields[1])
    return msg(kind, body + b'M' + cstr(fields[2] if len(fields) > 2 else 'text') + b'\0')


CODES = {'ssl': 80877103, 'gss': 80877104}


def from_client(kind, f):
    if kind == 'startup':
        return startup(f)
    if kind in CODES:
        return struct.pack('>II', 8, CODES[kind])
    if kind == 'cancel':
        return struct.pack('>III', 12 + len(f[1]), 80877102, int(f[0])) + f[1].encode()
    if kind == 'hex':
        return bytes.fromhex(''.join(f))
    if kind == 'pad':  # N bytes of 'x'
        return b'x' * int(f[0])
    if kind == 'Q':
        return msg('Q', cstr(f[0]))
    if kind == 'Qpad':  # a query: text, then spaces up to N bytes, then more text
        text = f[0] + ' ' * (int(f[1]) - len(f[0]) - len(f[2])) + f[2]
        return msg('Q', cstr(text))
    if kind == 'P':
        types = [int(x) for x in f[2:]]
        return msg('P', cstr(f[0]) + cstr(f[1]) + struct.pack(f'>H{len(types)}I', len(types), *types))
    if kind == 'Ppad':  # a Parse: name, N bytes of text
        return msg('P', cstr(f[0]) + cstr(f[1] + ' ' * int(f[2])) + struct.pack('>H', 0))
    if kind == 'B':
        return msg('B', bind(f))
    if kind == 'Qhex':  # bytes, then text
        return msg('Q', bytes.fromhex(f[0]) + cstr(f[1]))
    if kind == 'Qmany':
        return msg('Q', cstr(f[0] * int(f[1]) + f[2]))
    if kind == 'Ptypes':
        return from_client('P', f[:2] + ['25'] * int(f[2]))
    if kind == 'Pname':
        return from_client('P', ['n' * int(f[0]), f[1]])
    if kind == 'Bname':
        return msg('B', bind(['n' * int(f[0])] + f[1:]))
    if kind == 'Bpad':  # a Bind with one value of N bytes
        return msg('B', bind([f[0], f[1], 'x' * int(f[2])]))
    if kind in 'DC' and len(f) == 2:
        return msg(kind, f[0].encode() + cstr(f[1]))
    if kind == 'E':
        return msg('E', cstr(f[0]) + struct.pack('>I', int(f[1]) if len(f) > 1 else 0))
    if kind == 'd':
        return msg('d', f[0].encode())
    if kind in 'fp':
        return msg(kind, cstr(f[0]))
    if kind == 'F':
        return msg('F', struct.pack('>IHHH', 1, 0, 0, 0))
    return msg(kind)


def from_server(kind, f):
    if kind in ('hex', 'pad'):
        return from_client(kind, f)
    if kind == 'R':
        return msg('R', struct.pack('>I', int(f[0])) + b''.join(cstr(x) for x in f[1:]))
    if kind == 'K':
        return msg('K', struct.pack('>I', int(f[0])) + f[1].encode())
    if kind == 'S':
        return msg('S', cstr(f[0]) + cstr(f[1]))
    if kind == 'Z':
        return msg('Z', f[0].encode())
    if kind == 'T':
        return msg('T', columns(f))
    if kind == 'D':
        return msg('D', values(f))
    if kind == 'C':
        return msg('C', cstr(f[0]))
    if kind in 'EN':
        return report(kind, f)
    if kind in 'GHW' and not f:
        return msg(kind, b'\0\0\0')
    if kind == 'd':
        return msg('d', f[0].encode())
    if kind == 'A':
        return msg('A', struct.pack('>I', int(f[0])) + cstr(f[1]) + cstr(f[2]))
    if kind == 't':
        return msg('t', struct.pack(f'>H{len(f)}I', len(f), *[int(x) for x in f]))
    if kind == 'v':
        names = f[1:]
        return msg('v', struct.pack('>II', int(f[0], 0), len(names)) + b''.join(map(cstr, names)))
    return msg(kind)


def text_of(data):
    return data.decode('utf-8', 'surrogateescape')


def read_values(body):
    out, at = [], 2
    for _ in range(struct.unpack('>H', body[:2])[0]):
        n, = struct.unpack('>i', body[at:at + 4])
        at += 4
        out.append('NULL' if n < 0 else text_of(body[at:at + n]))
        at += max(n, 0)
    return out


def read_columns(body, full=False):
    out, at = [], 2
    for _ in range(struct.unpack('>H', body[:2])[0]):
        end = body.index(0, at)
        kind, form = struct.unpack('>6xI6xH', body[end + 1:end + 19])
        out.append(text_of(body[at:end]) + (f':{kind}:{form}' if full else ''))
        at = end + 19
    return out


def read_formats(body, at):
    count, = struct.unpack('>H', body[at:at + 2])
    return struct.unpack(f'>{count}H', body[at + 2:at + 2 + 2 * count]), at + 2 + 2 * count


def read_bind(body):
    portal, name, rest = body.split(b'\0', 2)
    given, at = read_formats(rest, 0)
    out = read_values(rest[at:])
    end = at + 2
    for _ in out:
        size, = struct.unpack('>i', rest[end:end + 4])
        end += 4 + max(size, 0)
    wanted, end = read_formats(rest, end)
    if end != len(rest):
        raise Failed(f'a malformed Bind: {body!r}')
    marks = [f'in={",".join(map(str, given))}'] if given else []
    marks += [f'out={",".join(map(str, wanted))}'] if wanted else []
    return [text_of(portal), text_of(name)] + out + marks


def read_report(body):
    fields = {}
    for part in body[:-1].split(b'\0'):
        if part:
            fields[chr(part[0])] = text_of(part[1:])
    return [fields['V'], fields['C'], fields['M']] + [k + '=' + fields[k] for k in 'DHP' if k in fields]


def strings(body):
    return [text_of(x) for x in body.split(b'\0')[:-1]]


def split_server(kind, body):
    if kind == 'R':
        return [str(struct.unpack('>I', body[:4])[0])] + strings(body[4:])
    if kind == 'K':
        return [str(struct.unpack('>I', body[:4])[0]), text_of(body[4:])]
    if kind == 'D':
        return read_values(body)
    if kind == 'T':
        return read_columns(body)
    if kind in 'EN':
        return read_report(body)
    if kind == 'A':
        return [str(struct.unpack('>I', body[:4])[0])] + strings(body[4:])
    if kind == 'v':
        return [hex(struct.unpack('>I', body[:4])[0])] + strings(body[8:])
    if kind in 'SC':
        return strings(body)
    if kind in 'Zd':
        return [text_of(body)]
    return []


def split_client(kind, body):
    if kind == 'P':
        name, text, rest = body.split(b'\0', 2)
        types = struct.unpack(f'>{(len(rest) - 2) // 4}I', rest[2:])
        return [text_of(name), text_of(text)] + [str(x) for x in types]
    if kind == 'E':
        limit, = struct.unpack('>I', body[-4:])
        return [text_of(body[:-5])] + ([str(limit)] if limit else [])
    if kind in 'Qfp':
        return [text_of(body.split(b'\0')[0])]
    if kind == 'B':
        return read_bind(body)
    if kind in 'DC' and body:
        return [chr(body[0]), text_of(body[1:-1])]
    if kind == 'd':
        return [text_of(body)]
    return []


class Peer:
    """One end of a connection: sends pieces, cuts what comes into messages."""

    def __init__(self, name, sock, cutter):
        self.name, self.sock, self.cutter = name, sock, cutter
        self.data, self.joining, self.drips = b'', None, False
        self.seen = b''
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        if self.joining is not None:
            self.joining += data
            return
        first, second = self.cutter.cut(self.name, data)
        pieces = [data[i:i + 1] for i in range(len(data))] if self.drips else [first, second][:2 if second else 1]
        try:
            for i, piece in enumerate(pieces):
                if i > 0:
                    time.sleep(0.003)
                self.sock.sendall(piece)
        except OSError as error:
            raise Failed(f'{self.name}: could not send: {error}')

    def stuff(self, most, data):
        """Sends the same message until the other side takes no more of it for a while. A part of one may be left."""
        sent, rest = 0, data
        while select.select([], [self.sock], [], 3 * SILENCE)[1]:
            count = self.sock.send(rest, socket.MSG_DONTWAIT)
            sent, rest = sent + count, rest[count:] or data
            if sent > most:
                raise Failed(f'{self.name}: more than {most} bytes were taken')

    def secure(self, context, **options):
        self.sock.settimeout(PATIENCE)
        self.sock = context.wrap_socket(self.sock, **options)
        self.sock.settimeout(None)

    def waiting(self):
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def more(self, patience):
        if not self.waiting() and not select.select([self.sock], [], [], patience)[0]:
            return None
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b''
        self.data += data
        self.seen += data
        return data

    def need(self, count):
        while len(self.data) < count:
            got = self.more(PATIENCE)
            if got is None:
                raise Failed(f'{self.name}: nothing came (have {self.data[:60]!r})')
            if got == b'':
                raise Failed(f'{self.name}: the end came (have {self.data[:60]!r})')

    def take(self, count):
        self.need(count)
        data, self.data = self.data[:count], self.data[count:]
        return data

    def message(self):
        head = self.take(5)
        body = self.take(struct.unpack('>I', head[1:])[0] - 4)
        return chr(head[0]), body

    def expect_eof(self):
        if self.data:
            raise Failed(f'{self.name}: more came before the end: {self.data[:60]!r}')
        got = self.more(PATIENCE)
        if got:
            raise Failed(f'{self.name}: more came instead of the end: {got[:60]!r}')
        if got is None:
            raise Failed(f'{self.name}: the end did not come')

    def expect_silence(self):
        if self.data or self.more(SILENCE) is not None:
            raise Failed(f'{self.name}: there should be nothing, there is {self.data[:80]!r}')


class Cutter:
    """Decides where one side's bytes are cut in two."""

    def __init__(self, side=None, offset=0):
        self.side, self.offset, self.sent = side, offset, {}

    def cut(self, name, data):
        start = self.sent.get(name, 0)
        self.sent[name] = start + len(data)
        at = self.offset - start
        if name == self.side and 0 < at < len(data):
            return data[:at], data[at:]
        return data, b''


class Proxy:
    def __init__(self, binary, plan):
        self.dir = tempfile.TemporaryDirectory(prefix='pgkeep-wire-')
        self.log_path = os.path.join(self.dir.name, 'log')
        self.config_path = os.path.join(self.dir.name, 'conf')
        if plan.certificate:
            self.make_certificate()
        self.backend, listen = self.make_listener(plan)
        in_file = any('$backend' in line for line in plan.file)
        addresses = ','.join([f'127.0.0.1:{listen}'] + plan.listen).replace('$dir', self.dir.name)
        args = [x.replace('$dir', self.dir.name) for x in plan.args]
        if plan.file:
            self.write_config(plan.file)
            args += ['--config', self.config_path]
        if not in_file:
            args = ['--backend', self.backend] + args
        self.process = subprocess.Popen(
            [binary, 'serve', '--listen', addresses, '--state', self.dir.name, '--set', 'log.level=debug'] + args,
            preexec_fn=lambda: plan.files and resource.setrlimit(resource.RLIMIT_NOFILE, (plan.files, plan.files)),
            env={**os.environ, 'LD_BIND_NOW': '1'},  # else registers are left on the stack
            stderr=open(self.log_path, 'w'))
        self.port = int(self.wait_log(r'listening on 127\.0\.0\.1:(\d+)').group(1))

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def make_certificate(self):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-subj', '/CN=localhost', '-keyout', self.path('key.pem'), '-out', self.path('cert.pem')],
                       check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.chmod(self.path('key.pem'), 0o600)

    def tls_server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path('cert.pem'), self.path('key.pem'))
        return context

    @staticmethod
    def tls_client(names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if names:
            context.set_alpn_protocols(names)
        return context

    def make_listener(self, plan):
        """Where the backend is, and the port where the proxy is to listen."""
        if plan.unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(os.path.join(self.dir.name, '.s.PGSQL.5432'))
            self.listener.listen(64)
            return f'{self.dir.name}:5432', 0
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', 0))
        port = self.listener.getsockname()[1]
        if plan.backend:
            self.listener.listen(64)
        if plan.circle or not plan.backend:
            self.listener.close()  # nobody is there, or its port is the proxy's now
        return f'127.0.0.1:{port}', port if plan.circle else 0

    def write_config(self, lines):
        with open(self.config_path, 'w') as file:
            text = '\n'.join(lines).replace('$dir', self.dir.name).replace('$backend', self.backend)
            file.write(text + '\n')

    def connect(self, words=()):
        if 'unix' in words:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self.wait_log(r'listening on (/\S+)').group(1))
            return sock
        source = [w[5:] for w in words if w.startswith('from=')]
        return socket.create_connection(('127.0.0.1', self.port), source_address=(source[0], 0) if source else None)

    def loops(self):
        """The sockets that each event loop watches. A loop has two epoll descriptors, the second is libuv's."""
        out, fds = [], f'/proc/{self.process.pid}/fd'
        links = {fd: os.readlink(f'{fds}/{fd}') for fd in os.listdir(fds)}
        for fd, link in links.items():
            if link == 'anon_inode:[eventpoll]':
                with open(f'/proc/{self.process.pid}/fdinfo/{fd}') as info:
                    watched = re.findall(r'tfd: +(\d+)', info.read())
                if any(links.get(x) == link for x in watched):
                    out.append(sum(links.get(x, '').startswith('socket:') for x in watched))
        return out

    def log(self):
        with open(self.log_path, errors='replace') as file:
            return file.read()

    def wait_log(self, pattern):
        end = time.time() + PATIENCE
        while time.time() < end:
            found = re.search(pattern, self.log())
            if found:
                return found
            if self.process.poll() is not None and not re.search(pattern, self.log()):
                raise Failed('the proxy ended: ' + self.log()[-500:])
            time.sleep(0.01)
        raise Failed(f'not in the log: {pattern}')

    def wait_count(self, count, text):
        end = time.time() + PATIENCE
        while self.log().count(text) < count:
            if time.time() > end:
                raise Failed(f'not {count} times in the log: {text}')
            time.sleep(0.01)

    def wait_state(self, state):
        end = time.time() + PATIENCE
        moves = []
        while time.time() < end:
            moves = re.findall(r'session \d+: [A-Z]+ --[A-Z_]+--> ([A-Z]+)\n', self.log())
            if moves and moves[-1] == state:
                return
            time.sleep(0.01)
        raise Failed(f'the session is not in {state} but in {moves[-1:]}')

    def holds(self, text):
        with open(f'/proc/{self.process.pid}/maps') as maps, open(f'/proc/{self.process.pid}/mem', 'rb') as memory:
            for line in maps:
                found = re.match(r'([0-9a-f]+)-([0-9a-f]+) rw', line)
                if not found:
                    continue
                first, last = (int(x, 16) for x in found.groups())
                if last - first > 1 << 30:  # a sanitizer's shadow
                    continue
                memory.seek(first)
                try:
                    if text in memory.read(last - first):
                        return True
                except OSError:
                    pass
        return False

    def check_forgotten(self, text):
        """What was forwarded may come before it is wiped here."""
        for _ in range(5):
            if not self.holds(text):
                return
            time.sleep(0.1)
        raise Failed(f'in the memory of the proxy: {text}')

    def check_even(self):
        # a session is two sockets; where the listeners are, there are some more
        loops = self.loops()
        listeners = len(re.findall('listening on ', self.log()))
        if max(loops) - min(loops) > 2 + listeners:
            raise Failed(f'sockets of the loops: {loops}')

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE)
        log = self.log()
        self.listener.close()
        self.dir.cleanup()
        if code != 0 or 'Sanitizer' in log or 'runtime error' in log:
            raise Failed(f'the proxy ended with {code}:\n' + log[-3000:])


class Storm:
    """Many clients at once, and a server that answers each of its connections with what it was asked."""

    def __init__(self, proxy, count):
        self.proxy, self.count, self.inside = proxy, count, 0
        self.all_inside, self.seen_all = asyncio.Event(), asyncio.Event()

    @staticmethod
    async def message(reader):
        head = await reader.readexactly(5)
        return chr(head[0]), await reader.readexactly(struct.unpack('>I', head[1:])[0] - 4)

    async def serve(self, reader, writer):
        try:
            size, = struct.unpack('>I', await reader.readexactly(4))
            name = strings((await reader.readexactly(size - 4))[4:])[1]
            writer.write(from_server('R', ['0']) + from_server('S', ['session_authorization', name])
                         + from_server('Z', ['I']))
            while True:
                kind, body = await self.message(reader)
                if kind == 'X':
                    break
                writer.write(from_server('D', [name + ': ' + strings(body)[0]]) + from_server('C', ['SELECT 1'])
                             + from_server('Z', ['I']))
        finally:
            writer.close()

    async def expect(self, reader, kinds, value=None):
        for kind in kinds:
            got, body = await self.message(reader)
            if got != kind:
                raise Failed(f'got {got} {split_server(got, body)} instead of {kind}')
            if got == 'D' and read_values(body) != [value]:
                raise Failed(f'got the answer of another: {read_values(body)}, wanted {value}')

    async def visit(self, number):
        name = f'user{number}'
        reader, writer = await asyncio.open_connection('127.0.0.1', self.proxy.port)
        writer.write(startup([f'user={name}']))
        await self.expect(reader, 'RSZ')
        for turn in range(3):
            writer.write(from_client('Q', [f'question {number}.{turn}']))
            await self.expect(reader, 'DCZ', f'{name}: question {number}.{turn}')
        self.inside += 1
        if self.inside == self.count:
            self.all_inside.set()
        await self.seen_all.wait()
        writer.write(from_client('X', []))
        if await reader.read():
            raise Failed('more came after the goodbye')
        writer.close()

    async def watch(self):
        await self.all_inside.wait()
        self.proxy.check_even()
        self.seen_all.set()

    async def run(self):
        self.proxy.listener.listen(1024)
        server = await asyncio.start_server(self.serve, sock=self.proxy.listener.dup())
        visits = [self.visit(i) for i in range(self.count)]
        await asyncio.wait_for(asyncio.gather(self.watch(), *visits), 6 * PATIENCE)
        server.close()


class Run:
    """One pass through a scenario."""

    BEGINNINGS = {'': b'', 'startup': startup(['user=eve']), 'cancel': from_client('cancel', ['4711', 'abcd'])}

    def __init__(self, proxy, cutter, verbose):
        self.proxy, self.cutter, self.verbose = proxy, cutter, verbose
        self.peers, self.found, self.crowd, self.file = {}, {}, [], []

    def peer(self, name, words=()):
        if name not in self.peers:
            if name in 'CDF':
                sock = self.proxy.connect(words)
            else:
                self.proxy.listener.settimeout(PATIENCE)
                try:
                    sock = self.proxy.listener.accept()[0]
                except TimeoutError:
                    raise Failed(f'{name}: no connection to the backend came')
            self.peers[name] = Peer(name, sock, self.cutter)
        return self.peers[name]

    def expand(self, words):
        return [re.sub(r'\$(\w+)', self.meaning, w) for w in words]

    def meaning(self, found):
        name = found.group(1)
        if re.fullmatch(r'pad\d+', name):
            return 'x' * int(name[3:])
        return self.found.get(name, found.group(0))

    def match(self, wanted, got, line):
        for i, want in enumerate(wanted):
            if want == '*':
                return
            have = got[i] if i < len(got) else None
            if want.startswith('~') and have is not None:
                found = re.fullmatch(want[1:], have, re.S)
                if not found:
                    raise Failed(f'{line}: field {i}: {have!r} does not match {want[1:]!r}')
                self.found.update({k: v for k, v in found.groupdict().items() if v is not None})
            elif want != have:
                raise Failed(f'{line}: field {i}: {have!r}, wanted {want!r}')
        if len(got) > len(wanted):
            raise Failed(f'{line}: more fields came: {got[len(wanted):]!r}')

    def send(self, peer, kind, words, count):
        make = from_client if peer.name in 'CDF' else from_server
        if kind == 'join':
            peer.joining = b''
        elif kind == 'send':
            data, peer.joining = peer.joining, None
            peer.send(data)
        else:
            peer.send(make(kind, self.expand(words)) * count)

    def receive(self, peer, kind, words, line):
        if kind in ('startup', 'cancel', 'hex', 'pad', 'byte'):
            raw = words[0].encode() if kind == 'byte' else from_client(kind, self.expand(words))
            got = peer.take(len(raw))
            if got != raw:
                raise Failed(f'{line}: got {got!r}')
            return
        got, body = peer.message()
        split = split_server if peer.name in 'CDF' else split_client
        fields = split(got, body)
        if kind == 'TT' and got == 'T':
            fields, kind = read_columns(body, True), 'T'
        if kind == 'DX' and got == 'D':
            fields = [x if x == 'NULL' else x.encode('utf-8', 'surrogateescape').hex() for x in fields]
            kind = 'D'
        if self.verbose:
            print('   ', peer.name, 'got', got, fields)
        if got != kind:
            raise Failed(f'{line}: got {got} {fields}')
        self.match(self.expand(words), fields, line)

    def login(self, words):
        options = dict(w.split('=', 1) for w in words)
        self.found.pop('nonce', None)  # each session has its own
        user = options.get('user', 'ann')
        reported = options.get('reported', user)
        self.do(f'C> startup user={user} database=shop')
        self.do(f'B< startup user={user} database=shop')
        lines = ['R 0', f'S client_encoding {options.get("encoding", "UTF8")}',
                 f'S standard_conforming_strings {options.get("scs", "on")}']
        if reported:
            lines.append(f'S session_authorization {reported}')
        for line in lines + ['K 4711 abcd', 'Z I']:
            self.do('B> ' + line)
            self.do('C< ' + line)

    def check(self, words):
        tag, status = words[0], words[1] if len(words) > 1 else 'I'
        self.do(f'B< Q ~"SELECT \'(?P<nonce>pgkeep_[0-9a-f]{{32}})\' /\\* pgkeep: {tag} [0-9]+ \\*/"')
        for line in ('T ?column?', 'D "$nonce"', 'C "SELECT 1"', f'Z {status}'):
            self.do('B> ' + line)

    def standin(self, words):
        name, tag, count = words[0], words[1], int(words[2]) if len(words) > 2 else 0
        params = ', '.join(f'\\${i}::pg_catalog\\.text' for i in range(1, count + 1))
        params = f' FROM \\(SELECT {params}\\) _' if count else ''
        known = self.found.get('nonce', 'pgkeep_[0-9a-f]{32}')
        text = f"SELECT '(?P<nonce>{known})' AS \\\"(?P=nonce)\\\"{params} /\\* pgkeep: {tag} [0-9]+ \\*/"
        self.do(f'B< P "{name}" ~"{text}" ' + ' '.join(words[3:]))
        for line in ('B< H', 'B> 1', 'C< 1'):
            self.do(line)

    def bound(self, words):
        portal, name, count = words[0], words[1], int(words[2]) if len(words) > 2 else 0
        for line in (f'B< D S "{name}"', 'B< H', 'B> t' + ' 25' * count, 'B> T $nonce',
                     f'B< B "{portal}" "{name}"' + ' NULL' * count, 'B< H', 'B> 2', 'C< 2'):
            self.do(line)

    def ran(self, words):
        for line in (f'B< E "{words[0]}" ' + ' '.join(words[1:]), 'B< H', 'B> D $nonce',
                     'B> s' if words[1:] == ['1'] else 'B> C "SELECT 1"'):
            self.do(line)

    def error(self, words):
        self.do('B< E ~"pgkeep_[0-9a-f]{32}"')
        self.do('B> E ERROR 34000 "portal does not exist"')
        self.do('C< E ERROR ' + shlex.join(words).replace("'*'", '*'))

    def judged(self, name, data, code):
        """A session of its own, which ends because of what one side sends."""
        lines = ['login', f'{name}> hex {data}', f'C< E FATAL {code} *', 'C= eof', 'C. close', 'B. close']
        for line in lines:
            self.do(line)

    def tls(self, name, words):
        alpn = [w[5:] for w in words if w.startswith('alpn=')]
        try:
            if name in 'CDF':
                self.peer(name).secure(self.proxy.tls_client(alpn))
            else:
                self.peer(name).secure(self.proxy.tls_server(), server_side=True)
        except OSError as error:
            if 'refused' not in words:
                raise Failed(f'{name}: no TLS: {error}')
            return
        if 'refused' in words:
            raise Failed(f'{name}: TLS began')

    def nobody(self):
        if select.select([self.proxy.listener], [], [], SILENCE)[0]:
            raise Failed('somebody connects to the backend')

    def handle(self, name, words):
        """What is done to a peer besides messages: "C open", "C drip", "C stuff", "C tls"."""
        if words[0] == 'drip':
            self.peer(name).drips = True
        elif words[0] == 'stuff':
            make = from_client if name in 'CDF' else from_server
            self.peer(name).stuff(int(words[1]), make(words[2], self.expand(words[3:])))
        elif words[0] == 'tls':
            self.tls(name, words[1:])
        else:
            self.peer(name, words[1:])

    def close(self, name, how):
        peer = self.peer(name)
        if how == 'half':
            peer.sock.shutdown(socket.SHUT_WR)
            return
        if how == 'reset':
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        peer.sock.close()
        del self.peers[name]

    def message_line(self, line):
        found = re.match(r'([B-G])([<>=.]) *(.*)', line)
        if not found:
            raise Failed(f'cannot read: {line}')
        name, what, rest = found.groups()
        words = shlex.split(rest)
        count = 1
        if words and re.fullmatch(r'\d+\*', words[0]):
            count = int(words.pop(0)[:-1])
        if what == '.':
            self.close(name, words[0])
        elif what == '=':
            {'eof': Peer.expect_eof, 'silence': Peer.expect_silence}[words[0]](self.peer(name))
        elif what == '>':
            self.send(self.peer(name), words[0], words[1:], count)
        else:
            for _ in range(count):
                self.receive(self.peer(name), words[0], words[1:], line)

    def do(self, line):
        if self.verbose:
            print('  ', line)
        word, _, rest = line.partition(' ')
        if word == 'login':
            self.login(shlex.split(rest))
        elif word == 'check':
            self.check(shlex.split(rest))
        elif word in ('standin', 'bound', 'ran', 'error'):
            getattr(self, word)(shlex.split(rest))
        elif word == 'never':
            if rest.encode() in self.peer('B').seen:
                raise Failed(f'the backend received: {rest}')
        elif word == 'forgotten':
            self.proxy.check_forgotten(rest.encode())
        elif word == 'log':
            self.proxy.wait_log(re.escape(rest))
        elif word == 'logged':
            count, _, text = rest.partition(' ')
            self.proxy.wait_count(int(count), text)
        elif word == 'file':
            self.file.append(rest)
        elif word == 'hup':
            self.proxy.write_config(self.file)
            self.file = []
            self.proxy.process.send_signal(signal.SIGHUP)
        elif word == 'loops':
            count, _, even = rest.partition(' ')
            if len(self.proxy.loops()) != int(count):
                raise Failed(f'there are {len(self.proxy.loops())} loops')
            if even:
                self.proxy.check_even()
        elif word == 'storm':
            asyncio.run(Storm(self.proxy, int(rest)).run())
        elif word == 'until':
            self.proxy.wait_state(rest)
        elif word == 'not-logged':
            if rest in self.proxy.log():
                raise Failed(f'in the log: {rest}')
        elif word == 'crowd':
            count, _, words = rest.partition(' ')
            for _ in range(int(count)):
                self.crowd.append(socket.create_connection(('127.0.0.1', self.proxy.port)))
                self.crowd[-1].sendall(self.BEGINNINGS[words])
        elif word == 'disperse':
            for sock in self.crowd:
                sock.close()
        elif word == 'sleep':
            time.sleep(float(rest))
        elif word == 'term':
            self.proxy.process.send_signal(signal.SIGTERM)
        elif word == 'signal':
            self.proxy.process.send_signal(getattr(signal, 'SIG' + rest))
        elif word == 'exit':
            code = self.proxy.process.wait(PATIENCE)
            if code != int(rest):
                raise Failed(f'the proxy ended with {code}')
        elif word in ('refused', 'disbelieved'):
            self.judged(*(('C', rest, '08P01') if word == 'refused' else ('B', rest, '08006')))
        elif word == 'nobody':
            self.nobody()
        elif word == 'patience':
            globals()['PATIENCE'] = float(rest)
        elif rest.split()[:1] in (['open'], ['drip'], ['stuff'], ['tls']):
            self.handle(word, shlex.split(rest))
        else:
            self.message_line(line)

    def end(self):
        for peer in self.peers.values():
            peer.sock.close()


class Plan:
    """A scenario: what the proxy is started with, and the lines to do."""

    def __init__(self, path):
        self.args, self.listen, self.file, self.lines = [], [], [], []
        self.split, self.backend, self.circle, self.unix, self.files = False, True, False, False, 0
        self.certificate = False
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                line = line.strip()
                if line and not line.startswith('#') and not self.take(line):
                    self.lines.append((number, line))

    def take(self, line):
        word, _, rest = line.partition(' ')
        if word == 'args':
            self.args += shlex.split(rest)
        elif word == 'listen':
            self.listen.append(rest)
        elif word == 'file' and not self.lines:
            self.file.append(rest)
        elif word == 'files':
            self.files = int(rest)
        elif line == 'split':
            self.split = True
        elif line == 'certificate':
            self.certificate = True
        elif line == 'no-backend':
            self.backend = False
        elif line == 'self-backend':
            self.circle = True
        elif line == 'unix-backend':
            self.unix = True
        else:
            return False
        return True


def once(proxy, lines, cutter, verbose):
    run = Run(proxy, cutter, verbose)
    try:
        for number, line in lines:
            try:
                run.do(line)
            except Failed as failed:
                where = f', cut {cutter.side} at {cutter.offset}' if cutter.side else ''
                raise Failed(f'line {number}{where}: {line}\n  {failed}\n' + proxy.log()[-1500:])
    finally:
        run.end()
    return cutter.sent


def main():
    verbose = '--verbose' in sys.argv
    binary, path = [a for a in sys.argv[1:] if not a.startswith('--')]
    plan = Plan(path)
    proxy = Proxy(binary, plan)
    try:
        sent = once(proxy, plan.lines, Cutter(), verbose)
        if plan.split:
            for side in ('C', 'B'):
                for offset in range(1, sent.get(side, 0)):
                    once(proxy, plan.lines, Cutter(side, offset), False)
    except Failed as failed:
        print(f'{os.path.basename(path)}: {failed}')
        proxy.process.kill()
        sys.exit(1)
    proxy.stop()


main()
