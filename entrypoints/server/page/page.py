"""Serve the page with a policy that allows its own script and styles, and nothing else."""

import gzip
import hashlib
import re
from base64 import b64encode
from importlib.resources import files

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def content_security_policy(html: str) -> str:
    """Return the value of Content-Security-Policy for a page whose scripts and styles are inline.

    The script and the style are allowed by their hashes, so that no other code runs, no matter what a model
    writes. The page may request only the server that it comes from, and can be part of no other page.
    """
    scripts = _hashes(re.findall(r"<script>(.*?)</script>", html, re.DOTALL))
    styles = _hashes(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types dompurify",
        )
    )


def _hashes(texts: list[str]) -> str:
    digests = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


@attrs.frozen
class Page:
    """The page in memory, as it is and compressed.

    Attributes:
        html: The page in UTF-8.
        compressed: The page as gzip.
        headers: Headers of each response.
    """

    html: bytes
    compressed: bytes
    headers: dict[str, str]

    def respond(self, request: Request) -> Response:
        """Return the page, compressed if the client accepts that; 304 if the client has it already."""
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        tag = f'"{hashlib.sha256(self.compressed if zipped else self.html).hexdigest()[:32]}"'
        headers = {**self.headers, "ETag": tag}
        known = request.headers.get("if-none-match", "")
        if known == "*" or tag in {it.strip().removeprefix("W/") for it in known.split(",")}:
            return Response(status_code=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        body = self.compressed if zipped else self.html
        return Response(body, headers=headers, media_type="text/html")


def read_page() -> Page:
    """Read the page that is part of the package."""
    html = files(__package__).joinpath("index.html").read_bytes()
    headers = {
        "Content-Security-Policy": content_security_policy(html.decode()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }
    return Page(html, gzip.compress(html, mtime=0), headers)


def page_route() -> Route:
    """Return the route of the page: GET and HEAD of `/`.

    Example:
        >>> Starlette(routes=[page_route()])
    """
    page = read_page()

    async def respond(request: Request) -> Response:
        return page.respond(request)

    return Route("/", respond, methods=["GET"], name="page")
