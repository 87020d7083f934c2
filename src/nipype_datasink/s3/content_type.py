"""Return the media types of files by their names, the same on every machine."""

from __future__ import annotations

# Python's mimetypes also reads tables of the operating system, so its results differ between
# machines. Files of other types get the store's default type.
# https://www.iana.org/assignments/media-types/
_TYPES = {
    "application/gzip": (".gz", ".tgz", ".svgz"),
    "application/json": (".json", ".ipynb"),
    "application/pdf": (".pdf",),
    "application/xml": (".xml", ".xsl"),
    "application/yaml": (".yaml", ".yml"),
    "application/zip": (".zip",),
    "application/x-bzip2": (".bz2",),
    "application/x-tar": (".tar",),
    "application/x-xz": (".xz",),
    "font/woff": (".woff",),
    "font/woff2": (".woff2",),
    "image/bmp": (".bmp",),
    "image/gif": (".gif",),
    "image/jpeg": (".jpeg", ".jpg"),
    "image/png": (".png",),
    "image/svg+xml": (".svg",),
    "image/tiff": (".tif", ".tiff"),
    "image/webp": (".webp",),
    "text/css": (".css",),
    "text/csv": (".csv",),
    "text/html": (".htm", ".html"),
    "text/javascript": (".js", ".mjs"),
    # Browsers show text/plain, but download text/markdown and most other types of text.
    "text/plain": (".1d", ".bval", ".bvec", ".log", ".md", ".par", ".rst", ".txt"),
    "text/tab-separated-values": (".tsv",),
    "video/mp4": (".mp4",),
    "video/webm": (".webm",),
}
_BY_EXTENSION = {extension: name for name, all_ in _TYPES.items() for extension in all_}


def content_type_of(key: str) -> str | None:
    """Return the media type of an object, or None if its name does not show it.

    The type is that of the stored bytes. A compressed file has the type of gzip, and not that of
    its content, so that no browser or client decompresses it during a download.

    Examples
    --------
    >>> content_type_of("out/report.html"), content_type_of("out/bold.nii.gz")
    ('text/html', 'application/gzip')
    """
    name = key.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(f".{extension.lower()}") if stem and dot else None
