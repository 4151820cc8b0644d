#!/usr/bin/python3
"""A web server with the manners of those that hold disks.

  web.py DIR PORTFILE [MANNER[=VALUE]...]

Serves the files below DIR, in the shape of a datastore too: /folder/PATH?query is
DIR/PATH.  Each request is noted in PORTFILE.log: method, path, range.

  limit=N      503 when more than N requests are under way
  delay=MS     so long until the answer
  auth=U:P     401 without that user and password
  cookie=C     401 without that cookie
  cookie-uses=N  401 without the cookie in PORTFILE.cookie, a new one for every N requests
  noannounce   sends ranges, and does not announce them
  nohead       405 for HEAD
  busy=N       503 for every Nth request
  etag         says ETag and Last-Modified
  noranges     does not announce ranges, and ignores them
  drop=N       closes the connection in the middle of every Nth answer of data
  grow         the files have 512 bytes more from the 4th request for one of them on
  short        sends half of what it announces
  lies         announces ranges, and ignores them
  lies=N       the same from the Nth answer of data on
"""
import base64, http.server, os, re, socketserver, sys, threading, time, urllib.parse

root, portfile = sys.argv[1:3]
manners = dict(m.partition('=')[::2] for m in sys.argv[3:])
lock = threading.Lock()
under_way = answers = 0
seen = {}
log = open(portfile + '.log', 'w', buffering=1)


uses = requests = 0


def bake():
    with open(portfile + '.cookie.new', 'w') as f:
        f.write('session=%d\n' % (uses // int(manners['cookie-uses'])))
    os.rename(portfile + '.cookie.new', portfile + '.cookie')


if 'cookie-uses' in manners:
    bake()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def refuse(self, code):
        self.send_response(code)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def do_HEAD(self):
        if 'nohead' in manners:
            return self.refuse(405)
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        global under_way
        with lock:
            under_way += 1
            many = under_way > int(manners.get('limit', 1000))
        try:
            if 'delay' in manners:
                time.sleep(int(manners['delay']) / 1000)
            self.refuse(503) if many else self.serve(body)
        finally:
            with lock:
                under_way -= 1

    def allowed(self):
        if 'auth' in manners:
            want = 'Basic ' + base64.b64encode(manners['auth'].encode()).decode()
            return self.headers.get('Authorization') == want
        if 'cookie-uses' in manners:
            global uses
            with lock:
                good = 'session=%d' % (uses // int(manners['cookie-uses']))
                if good not in self.headers.get('Cookie', ''):
                    return False
                uses += 1
                bake()
            return True
        return 'cookie' not in manners or manners['cookie'] in self.headers.get('Cookie', '')

    def serve(self, body):
        global answers
        path = urllib.parse.unquote(self.path.partition('?')[0])
        name = os.path.join(root, re.sub('^/folder/', '/', path).lstrip('/'))
        log.write('%s %s %s\n' % (self.command, self.path, self.headers.get('Range', '-')))
        if not self.allowed():
            return self.refuse(401)
        if not os.path.isfile(name):
            return self.refuse(404)
        size = os.path.getsize(name)
        if 'busy' in manners:
            global requests
            with lock:
                requests += 1
                if requests % int(manners['busy']) == 0:
                    return self.refuse(503)
        with lock:
            seen[name] = seen.get(name, 0) + 1
            if 'grow' in manners and seen[name] > 3:
                size += 512
        start, end = 0, size
        wanted = re.match(r'bytes=(\d+)-(\d*)$', self.headers.get('Range', ''))
        lies = 'lies' in manners and answers >= int(manners['lies'] or 0)
        if wanted and 'noranges' not in manners and not lies:
            start = int(wanted[1])
            end = min(size, int(wanted[2]) + 1) if wanted[2] else size
            if start >= end:
                return self.refuse(416)
            self.send_response(206)
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, end - 1, size))
        else:
            self.send_response(200)
        if 'noranges' not in manners and 'noannounce' not in manners:
            self.send_header('Accept-Ranges', 'bytes')
        if 'etag' in manners:
            self.send_header('ETag', '"%x"' % os.stat(name).st_mtime_ns)
            self.send_header('Last-Modified', self.date_time_string(int(os.stat(name).st_mtime)))
        self.send_header('Content-Length', str(end - start))
        self.end_headers()
        if not body:
            return
        with open(name, 'rb') as f:
            f.seek(start)
            data = f.read(end - start).ljust(end - start, b'\0')
        with lock:
            answers += 1
            drop = 'drop' in manners and answers % int(manners['drop']) == 0
        if drop or 'short' in manners:
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args):
        pass


server = Server(('127.0.0.1', 0), Handler)
with open(portfile + '.new', 'w') as f:
    f.write(str(server.server_port))
os.rename(portfile + '.new', portfile)
server.serve_forever()
