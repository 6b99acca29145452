"""Runs ministack for the local stack, with two plain ports in front of it.

ministack tells HTTP APIs and function URLs apart by the Host header only, which neither curl nor a
provider's console sends. So this process listens three times: the AWS endpoint, the HTTP API and the
webhooks function's URL, the last two as bare http://127.0.0.1:PORT bases that enter the emulated
gateways directly. `fronts.json`, written by deploy.py, says which API and which URL they stand for.
"""

import argparse
import asyncio
import json
import os
import signal
import socketserver
from contextvars import ContextVar
from pathlib import Path

# API Gateway refuses larger bodies than 10 MB, a function URL larger than 6 MB.
API_BODY_LIMIT = 10 * 1024 * 1024
URL_BODY_LIMIT = 6 * 1024 * 1024


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True, help="the AWS endpoint")
    parser.add_argument("--api-port", type=int, default=0, help="the HTTP API")
    parser.add_argument("--webhooks-port", type=int, default=0, help="the webhooks function's URL")
    parser.add_argument("--state", type=Path, required=True, help="folder of everything kept or logged")
    parser.add_argument("--keep", action="store_true", help="keep queues, tables and objects over a restart")
    return parser.parse_args()


def environment(args):
    """ministack reads its settings when it is imported, so this comes before any import of it."""
    temporary = args.state / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ.update({
        "GATEWAY_PORT": str(args.port),
        "MINISTACK_HOST": "127.0.0.1",
        "BIND_HOST": "127.0.0.1",
        # Functions inherit these: their SDK clients must come back here and nowhere else.
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{args.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "AWS_DEFAULT_REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "MINISTACK_REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "STATE_DIR": str(args.state / "services"),
        "S3_DATA_DIR": str(args.state / "s3"),
        "PERSIST_STATE": "1" if args.keep else "0",
        "S3_PERSIST": "1" if args.keep else "0",
        "TMPDIR": str(temporary),
        # Functions' output has files of its own.
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        "DOCKER_HOST": "unix:///nonexistent",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    })


def quicken(logs):
    """Takes two waits out of every invocation and keeps each function's output in a file of its own.

    The Runtime API server writes headers and body apart, so Nagle's algorithm holds the body back for
    40 ms; and after an answer the emulator waits up to 50 ms for a log line that may never come.
    """
    from ministack.core.lambda_runtime import ProvidedWorker

    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    ProvidedWorker._drain_stderr_bounded = lambda self, *_, **__: self._drain_stderr()
    pump = ProvidedWorker._pump_output
    logs.mkdir(parents=True, exist_ok=True)

    class Tee:
        """A stream whose lines also go to the function's log file, as they come."""

        def __init__(self, stream, path):
            self.stream, self.file = stream, open(path, "ab", buffering=0)

        def readline(self):
            line = self.stream.readline()
            self.file.write(line)
            return line

        def close(self):
            self.file.close()
            self.stream.close()

    def pump_to_file(self, stream, log_queue):
        pump(self, Tee(stream, logs / f"{self.func_name}.log"), log_queue)

    ProvidedWorker._pump_output = pump_to_file


RAW_QUERY = ContextVar("the query string as it was sent")


def keep_raw_queries():
    """A function URL's event carries the query string as it was sent: signatures may cover it."""
    from ministack.services import lambda_svc

    build = lambda_svc._build_function_url_event

    def build_with_raw_query(*args, **kwargs):
        return {**build(*args, **kwargs), "rawQueryString": RAW_QUERY.get("")}

    lambda_svc._build_function_url_event = build_with_raw_query


class Fronts:
    """What the two plain ports stand for, read again whenever the deployment rewrites it."""

    def __init__(self, path):
        self.path, self.stamp, self.content = path, None, {}

    def get(self, name):
        try:
            stamp = self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if stamp != self.stamp:
            self.content, self.stamp = json.loads(self.path.read_text()), stamp
        return self.content.get(name)


def plain(status, message):
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()


async def read_body(receive, limit):
    """The body, or None when it is larger than `limit` bytes (the rest is read and dropped)."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        size += len(message.get("body", b""))
        if size <= limit:
            chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks) if size <= limit else None


def request_of(scope):
    from urllib.parse import parse_qs

    headers = {}
    for name, value in scope["headers"]:
        name, value = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query = scope.get("query_string", b"").decode("latin-1")
    return headers, query, parse_qs(query, keep_blank_values=True)


async def http_api(api_id, scope, receive):
    """One request into the HTTP API, as API Gateway would take it.

    OPTIONS goes to the routes when the API declares no CORS of its own, as on AWS; the emulator's
    data plane would answer it by itself.
    """
    from ministack.services import apigateway

    headers, query, params = request_of(scope)
    body = await read_body(receive, API_BODY_LIMIT)
    if body is None:
        return plain(413, "Request Entity Too Large")
    path = apigateway.decode_http_api_path((scope.get("raw_path") or scope["path"].encode()).decode("latin-1"))
    owner = apigateway.find_api_scope(api_id)
    if owner is None:
        return plain(404, "Not Found")
    method = scope["method"]
    if method == "OPTIONS" and not await asyncio.to_thread(declares_cors, api_id):
        with apigateway.request_scope(*owner):
            route = apigateway._match_route(api_id, method, path)
            if route is None:
                return plain(404, "Not Found")
            target = route["target"].rsplit("/", 1)[-1]
            integration = apigateway._integrations[api_id][target]
            return await apigateway._invoke_lambda_proxy(
                integration, api_id, "$default", path, method, headers, body, params, route["routeKey"],
                owner_account_id=owner[0], owner_region=owner[1], raw_query_string=query)
    return await apigateway.handle_execute(
        api_id, "$default", path, method, headers, body, params, raw_query_string=query)


def declares_cors(api_id):
    from ministack.services import apigateway

    with apigateway.request_scope(*apigateway.find_api_scope(api_id)):
        return bool(apigateway._apis[api_id].get("corsConfiguration"))


async def function_url(url_id, scope, receive):
    """One request into a function URL."""
    from ministack.services import lambda_svc

    headers, query, params = request_of(scope)
    RAW_QUERY.set(query)
    body = await read_body(receive, URL_BODY_LIMIT)
    if body is None:
        return plain(413, "Request Entity Too Large")
    client = (scope.get("client") or ("127.0.0.1",))[0]
    return await lambda_svc.handle_function_url_request(
        url_id, scope["method"], scope["path"], headers, body, params, source_ip=client)


def application(args):
    """The ASGI application: by the port a request came in on, a front or ministack itself."""
    import ministack.app

    fronts = Fronts(args.state / "fronts.json")
    doors = {args.api_port: ("api", http_api), args.webhooks_port: ("webhooks", function_url)}

    async def serve(scope, receive, send):
        door = doors.get(scope["server"][1]) if scope["type"] == "http" else None
        if door is None:
            await ministack.app.app(scope, receive, send)
            return
        name, handle = door
        identity = fronts.get(name)
        if identity is None:
            response = plain(503, "Nothing is deployed yet")
        else:
            response = await handle(identity, scope, receive)
        await ministack.app._send_response(send, *response, head=scope["method"] == "HEAD")

    return serve


def main():
    args = arguments()
    environment(args)
    quicken(args.state.parent / "logs")
    keep_raw_queries()

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.core import lambda_runtime

    config = Config()
    config.bind = [f"127.0.0.1:{port}" for port in (args.port, args.api_port, args.webhooks_port) if port]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"

    async def run():
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(application(args), config, shutdown_trigger=stop.wait)

    try:
        asyncio.run(run())
    finally:
        lambda_runtime.reset()
        # Worker threads of an invocation under way would keep the interpreter alive.
        os._exit(0)


if __name__ == "__main__":
    main()
