"""A file server for FaultServer to answer with."""

import hashlib
import os

from tests.fakes.fault_server import Received, Reply

CONTENT = os.urandom(2_000_000)


SUM = hashlib.sha256(CONTENT).hexdigest()


class Files:
    """A file server that knows ranges and ETags, unless told not to."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag = '"one"'
        self.knows_ranges = True

    def __call__(self, received: Received) -> Reply:
        if received.path != "/envoy":
            return Reply(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})
        whole = Reply(200, self.content, {"ETag": self.etag} if self.etag else {})
        wanted = received.headers.get("Range", "")
        if not wanted or not self.knows_ranges or received.headers.get("If-Range", self.etag) != self.etag:
            return whole
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if start >= len(self.content):
            return Reply(416, headers={"Content-Range": f"bytes */{len(self.content)}"})
        where = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        return Reply(206, self.content[start:], {**whole.headers, "Content-Range": where})
