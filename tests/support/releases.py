"""What the API of GitHub answers, written as files for a `Site`."""

from __future__ import annotations

import hashlib
import json

from support.site import Site


def publish_release(site: Site, tag: str, assets: dict[str, bytes], *, notes: bool = True, repo: str = "o/r") -> str:
    """Publish a release; the address that the API has for it."""
    base = f"repos/{repo}/releases"
    number = int(hashlib.sha256(tag.encode()).hexdigest()[:6], 16)
    listed = []
    for name, content in assets.items():
        url = site.write(f"{base}/assets/{tag}/{name}", content)
        listed.append({"url": url, "name": name, "size": len(content)})
    lines = [f"{hashlib.sha256(content).hexdigest()}  ./{name}" for name, content in assets.items()]
    url = f"{site.url}/{base}/{number}"
    body = "Notes\n\n" + "\n".join(lines if notes else [])
    release = json.dumps({"url": url, "tag_name": tag, "body": body, "assets": listed}).encode()
    for place in (str(number), f"tags/{tag}"):
        site.write(f"{base}/{place}", release)
    return url
