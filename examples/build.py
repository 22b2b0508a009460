"""Builds a project: checks that every module compiles, packs them, writes checksums.

    python examples/build.py PROJECT OUT [--format tar.gz|zip]

Nothing is written beside OUT. The same sources make the same archive, byte for byte.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

SKIPPED = {"__pycache__", ".pytest_cache", ".git", ".venv"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--format", choices=["tar.gz", "zip"], default="tar.gz")
    options = parser.parse_args()
    about = tomllib.loads((options.project / "pyproject.toml").read_text("utf-8"))["project"]
    stem = f"{about['name']}-{about['version']}"
    files = sorted(
        path
        for path in options.project.rglob("*")
        if path.is_file() and not SKIPPED & set(path.relative_to(options.project).parts)
    )
    steps = len(files) + 2
    for number, path in enumerate(files, 1):
        name = path.relative_to(options.project)
        progress(number, steps, f"Checking {name}")
        if path.suffix == ".py":
            try:
                compile(path.read_bytes(), str(name), "exec", dont_inherit=True)
            except SyntaxError as error:
                print(f"{name}:{error.lineno}: {error.msg}", file=sys.stderr)
                return 1
        print(f"ok {name}", flush=True)

    progress(steps - 1, steps, f"Packing {len(files)} files")
    contents = {f"{stem}/{path.relative_to(options.project)}": path.read_bytes() for path in files}
    data = pack_zip(contents) if options.format == "zip" else pack_tar(contents)
    options.out.mkdir(parents=True, exist_ok=True)
    archive = options.out / f"{stem}.{options.format}"
    archive.write_bytes(data)
    print(f"wrote {archive} ({len(data):,} bytes)")

    progress(steps, steps, "Writing checksums")
    digest = hashlib.sha256(data).hexdigest()
    sums = options.out / f"{archive.name}.sha256"
    sums.write_text(f"{digest}  {archive.name}\n", "ascii")
    print(f"{digest}  {archive.name}")
    told = {"archive": str(archive), "files": len(files), "bytes": len(data), "sha256": digest}
    print("::jobcast result", json.dumps({"version": about["version"], **told}), flush=True)
    return 0


def pack_tar(contents: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def pack_zip(contents: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            # The date of a ZipInfo that is given none is 1980-01-01: the same each time.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def progress(number: int, steps: int, message: str) -> None:
    print(f"::jobcast progress {number}/{steps} {message}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
