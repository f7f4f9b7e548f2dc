"""The GraphiQL page and the files it is made of, all of them served by us.

Nothing here knows a web framework: a route answers `page` for HTML at the GraphQL path, and `load()[name]` below the
assets' path. The libraries come from npm at set-up (`web/package.json`) and are not part of the repository.
"""

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_HERE = Path(__file__).parent

_POLICY = {
    "default-src": "'self'",
    "font-src": "'self' data:",  # GraphiQL's style sheet carries its fonts
    "img-src": "'self' data:",  # and its pictures
    "style-src": "'self' 'unsafe-inline'",  # its dialogs and menus write style elements while they run
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_SECURITY_POLICY = "; ".join(f"{directive} {sources}" for directive, sources in _POLICY.items())
"""Content-Security-Policy of both pages: scripts are files of ours, and no other host is ever spoken to."""

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",  # it names the assets' versions
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept",  # the same address answers GraphQL
        "X-Content-Type-Options": "nosniff",
    },
)
"""Headers of `page` and `hint_page`."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Where a file of the page comes from: the installed npm packages, or this package's own `static` folder."""

    path: str
    media_type: str
    installed: bool = True

    def locate(self, web_dir: Path) -> Path:
        """Give the file's place on this machine, whether it is there or not."""
        return (web_dir / "node_modules" if self.installed else _HERE / "static") / self.path


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file of the page in memory; `version` is a digest of its bytes."""

    body: bytes
    media_type: str
    version: str

    def headers(self, asked_version: str | None) -> dict[str, str]:
        """Give the response headers for a request with this `v` in its query (None without).

        Only an address that names this very version may be kept for ever: during a deployment an old server can be
        asked for a file of the new page, and that answer must not stick.
        """
        keep = "public, max-age=31536000, immutable" if asked_version == self.version else "no-cache"
        return {"Cache-Control": keep, "ETag": f'"{self.version}"', "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Example:
    """A document that opens as a tab of a first visit."""

    name: str
    document: str


_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"

ASSETS: Mapping[str, Asset] = MappingProxyType(
    {
        "react.js": Asset("react/umd/react.production.min.js", _SCRIPT),
        "react-dom.js": Asset("react-dom/umd/react-dom.production.min.js", _SCRIPT),
        "graphiql.js": Asset("graphiql/graphiql.min.js", _SCRIPT),
        "graphiql.css": Asset("graphiql/graphiql.min.css", _STYLE),
        "explorer.js": Asset("@graphiql/plugin-explorer/dist/index.umd.js", _SCRIPT),
        "explorer.css": Asset("@graphiql/plugin-explorer/dist/style.css", _STYLE),
        "streamcat.js": Asset("streamcat.js", _SCRIPT, installed=False),
        "streamcat.css": Asset("streamcat.css", _STYLE, installed=False),
        "icon.svg": Asset("icon.svg", "image/svg+xml", installed=False),
    },
)
"""Every file that may be asked for, by its public name, in the order the page needs them. Nothing else is served."""

EXAMPLES: tuple[Example, ...] = tuple(
    Example(file.stem, file.read_text(encoding="utf-8")) for file in sorted((_HERE / "examples").glob("*.graphql"))
)
"""The example documents, in the order of their tabs; the files' names begin with a number for that."""


def missing(web_dir: Path) -> list[str]:
    """Name the files of the page that are not there, relative to `web_dir`; empty after a complete set-up."""
    return [
        f"node_modules/{asset.path}"
        for asset in ASSETS.values()
        if asset.installed and not asset.locate(web_dir).is_file()
    ]


def load(web_dir: Path) -> Mapping[str, Loaded]:
    """Read every file of the page (about 1.6 MB), by public name.

    Raises:
        FileNotFoundError: a package is not installed; ask `missing` first.
    """
    loaded = {}
    for name, asset in ASSETS.items():
        body = asset.locate(web_dir).read_bytes()
        loaded[name] = Loaded(body, asset.media_type, hashlib.sha256(body).hexdigest()[:16])
    return MappingProxyType(loaded)


def page(
    files: Mapping[str, Loaded],
    *,
    endpoint: str = "/graphql",
    assets: str = "/graphiql",
    channel_id: str | None = None,
) -> str:
    """Write the page.

    Args:
        files: what `load` gave; the page asks for exactly these versions.
        endpoint: path that answers GraphQL by POST and by websocket.
        assets: path below which the files are served.
        channel_id: global id of the channel the subscription example watches; None leaves it to be filled in.
    """

    def address(name: str) -> str:
        return html.escape(f"{assets}/{name}?v={files[name].version}")

    styles = "\n".join(f'<link rel="stylesheet" href="{address(name)}">' for name in files if name.endswith(".css"))
    scripts = "\n".join(f'<script defer src="{address(name)}"></script>' for name in files if name.endswith(".js"))
    variables = json.dumps({"channelId": channel_id or ""}, indent=2)
    tabs = [
        {"query": example.document, "variables": variables if "$channelId" in example.document else None}
        for example in EXAMPLES
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>StreamCat GraphiQL</title>
<link rel="icon" href="{address("icon.svg")}">
{styles}
{scripts}
</head>
<body>
<main id="graphiql" data-endpoint="{html.escape(endpoint)}" data-tabs="{html.escape(json.dumps(tabs))}">
<p>Loading GraphiQL…</p>
<noscript><p>GraphiQL is a program in JavaScript: allow scripts for this page.</p></noscript>
</main>
</body>
</html>
"""


def hint_page(absent: Iterable[str]) -> str:
    """Write the page for a server whose npm packages were never installed; `absent` is what `missing` found."""
    files = "\n".join(f"<li><code>web/{html.escape(path)}</code></li>" for path in absent)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>StreamCat: GraphiQL is not installed</title>
</head>
<body>
<h1>GraphiQL is not installed yet</h1>
<p>The API answers at this address; only the page to explore it lacks its files.</p>
<p>Run <code>make install</code> in the project's folder, then start the server again;
<code>make run</code> does both.</p>
<p>Missing:</p>
<ul>
{files}
</ul>
</body>
</html>
"""
