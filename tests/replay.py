"""A server on 127.0.0.1 that answers as a transcript says: each method in its order."""

import collections
import contextlib
import csv
import http.server
import io
import json
import re
import threading


def read_transcript(path):
    """The first line of a transcript and its exchanges, without lines that a kill has cut."""
    lines = []
    for text in path.read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return lines[0], [line for line in lines if "transcript" not in line]


class Replay:
    """Answers a transcript's exchanges; the last of each kind is repeated.

    Attributes:
        url: str, to be used as the proxy.
        calls: list of the paths that were asked for.
        unknown: list of those that the transcript lacks.
        sent: dict of the sha256 of texts that the transcript left out to those that the
            client has sent in their places.
    """

    def __init__(self, path):
        self.exchanges = collections.defaultdict(list)
        for exchange in read_transcript(path)[1]:
            if "unwritten" in exchange:
                continue
            self.exchanges[exchange["method"], exchange["path"]].append(exchange)
        self.calls, self.unknown, self.sent = [], [], {}
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.replay = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def take(self, method, path):
        """The exchange that is due, or None."""
        with self.lock:
            self.calls.append(path)
            due = self.exchanges.get((method, path), [])
            if not due:
                self.unknown.append(path)
                return None
            return due.pop(0) if len(due) > 1 else due[0]

    def learn(self, recorded, sent):
        """Keep the texts that the transcript has left out."""
        if isinstance(recorded, dict) and isinstance(sent, str):
            self.sent[recorded["sha256"]] = sent
        elif isinstance(recorded, dict) and isinstance(sent, dict):
            for name in recorded.keys() & sent.keys():
                self.learn(recorded[name], sent[name])

    def fill(self, content):
        """An answer with the texts that the client has sent."""
        if isinstance(content, dict) and content.keys() == {"size", "sha256"}:
            return self.sent.get(content["sha256"], "")
        if isinstance(content, dict):
            return {name: self.fill(value) for name, value in content.items()}
        return [self.fill(value) for value in content] if isinstance(content, list) else content


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = re.search(r"/api(/v1/[^?]*)", self.path)
        replay = self.server.replay
        exchange = replay.take(self.command, call[1] if call else self.path)
        if exchange is None:
            exchange = {"status": 404, "headers": {}, "answer": "not in the transcript"}
        if "error" in exchange:
            self.close_connection = True
            return
        with contextlib.suppress(ValueError):
            replay.learn(exchange.get("request"), json.loads(body))
        content = self.encode(replay.fill(exchange["answer"]), exchange["headers"])
        self.send_response(exchange["status"])
        for name, value in exchange["headers"].items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def encode(self, answer, headers):
        if answer is None:
            return b""
        if "json" in headers.get("Content-Type", ""):
            return json.dumps(answer).encode()
        if isinstance(answer, list):  # a board
            table = io.StringIO()
            writer = csv.DictWriter(table, answer[0])
            writer.writeheader()
            writer.writerows(answer)
            answer = table.getvalue()
        return answer.encode()

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *arguments):
        """Print nothing."""
