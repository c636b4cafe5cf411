"""PostgreSQL's own tests, ready to run: the SQL out of Debian's source package, and the two parts of
them that are C, compiled.

The source package comes through apt, from where the machine's own packages come: its entries are read
at run time, turned into entries for sources and written into a private directory that apt is pointed
at. Nothing in /etc changes and apt's own lists stay as they are. All of it is kept below the directory
given, so that the next run needs no network."""

import glob
import os
import re
import shutil
import subprocess
import tarfile

PACKAGE = "postgresql-15"
WANTED = ("src/test/regress/", "src/test/isolation/", "src/test/modules/libpq_pipeline/")


class Unavailable(Exception):
    """The source package or a compiler could not be had; the text says why."""


def run(command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **more)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def must(command, **more):
    code, said = run(command, **more)
    if code != 0:
        raise Unavailable(f"{' '.join(command)}: exit status {code}\n{said[-3000:]}")
    return said


# --- apt, in a directory of its own --------------------------------------------------------------


def one_line_entries(text):
    """sources.list: every "deb [options] uri suite ..." as "deb-src", without what limits it to one
    architecture."""
    found = []
    for line in text.splitlines():
        entry = re.match(r"\s*deb(?:-src)?\s+(.*)", line)
        if entry:
            entry = re.sub(r"\barch[+-]?=[^\s\]]+", "", entry[1])
            found.append("deb-src " + re.sub(r"\[\s*\]\s*", "", entry).strip())
    return "".join(line + "\n" for line in dict.fromkeys(found))


def stanza_entries(text):
    """deb822 (*.sources): every stanza that is switched on, for sources only."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(l for l in text.splitlines() if not l.startswith("#"))):
        if not re.search(r"(?im)^Types:", stanza) or re.search(r"(?im)^Enabled:\s*(no|false|off|0)\b", stanza):
            continue
        stanza = re.sub(r"(?im)^Types:.*(?:\n[ \t].*)*", "Types: deb-src", stanza)
        found.append(re.sub(r"(?im)^Architectures(?:-\w+)?:.*(?:\n[ \t].*)*\n?", "", stanza).strip("\n"))
    return "".join(stanza + "\n\n" for stanza in found)


class PrivateApt:
    """apt-get and apt-cache with the machine's keys and settings and our own sources, lists and cache."""

    def __init__(self, directory, etc="/etc/apt"):
        self.directory = os.path.abspath(directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        for part in ("parts", "lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(self.directory, part))
        found = [os.path.join(etc, "sources.list"), *glob.glob(os.path.join(etc, "sources.list.d", "*"))]
        for number, path in enumerate(sorted(found)):
            make = {".list": one_line_entries, ".sources": stanza_entries}.get(os.path.splitext(path)[1])
            if make is None or not os.path.isfile(path):
                continue
            with open(path, encoding="utf-8") as text:
                entries = make(text.read())
            name = f"{number:02d}{os.path.splitext(path)[1]}"
            with open(os.path.join(self.directory, "parts", name), "w", encoding="utf-8") as out:
                out.write(entries)

    def command(self, tool, *arguments):
        where = {"Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": self.directory + "/parts",
                 "Dir::State::lists": self.directory + "/lists", "Dir::Cache": self.directory + "/cache",
                 "APT::Get::List-Cleanup": "0", "Acquire::Languages": "none", "Acquire::Retries": "2"}
        if os.geteuid() == 0:
            where["APT::Sandbox::User"] = "root"  # the sandbox's user may not be able to write here
        return [tool, "-q", *(word for name, value in where.items() for word in ("-o", f"{name}={value}")), *arguments]

    def versions(self, package):
        """What the sources offer, the newest first."""
        said = run(self.command("apt-cache", "showsrc", package))[1]
        found = set(re.findall(rf"(?m)^Package: {re.escape(package)}\n(?:\S.*\n|[ \t].*\n)*?Version: (\S+)$", said))
        order = []
        for version in found:
            at = next((i for i, other in enumerate(order)
                       if run(["dpkg", "--compare-versions", version, "gt", other])[0] == 0), len(order))
            order.insert(at, version)
        return order


def installed_version():
    code, said = run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE])
    return said if code == 0 else None


def fetch(cache):
    """The upstream tarball. The version of the installed server if it can be had; else the newest that
    can: both runs that are compared use the same SQL, so another minor release does as well."""
    apt = PrivateApt(os.path.join(cache, "apt"))
    said = run(apt.command("apt-get", "update"))[1]  # one archive of several that fails is no reason to stop
    download = os.path.join(apt.directory, "download")  # half a tarball must not look like a whole one
    os.mkdir(download)
    mine, reasons = installed_version(), [said]
    for version in sorted(apt.versions(PACKAGE), key=lambda v: v != mine):  # a stable sort
        code, said = run(apt.command("apt-get", "source", "--download-only", "--tar-only", f"{PACKAGE}={version}"),
                         cwd=download)
        tarball = [f for f in sorted(os.listdir(download)) if re.search(r"\.orig\.tar\.\w+$", f)]
        if code == 0 and tarball:
            print(f"# source package {PACKAGE} {version}" + ("" if version == mine else f" (server: {mine})"))
            kept = os.path.join(cache, tarball[0])
            os.rename(os.path.join(download, tarball[0]), kept)
            shutil.rmtree(apt.directory)
            return kept
        reasons.append(said)
    raise Unavailable(f"no source package of {PACKAGE}: " + "\n".join(reasons)[-3000:])


def unpack(tarball, target):
    """The folders wanted, with the first part of each path (the release's name) cut off."""
    with tarfile.open(tarball) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            if member.isfile() and path.startswith(WANTED) and ".." not in path.split("/"):
                member.name, member.mode = path, 0o644
                archive.extract(member, target)


# --- the parts in C --------------------------------------------------------------------------------


def told(pgbin, what):
    return must([os.path.join(pgbin, "pg_config"), what]).strip()


def compile_c(tests, target, pgbin):
    """Against the very server that will load it: it may use what an older minor release does not have."""
    headers = ["-I" + told(pgbin, what) for what in ("--includedir-server", "--includedir")]
    flags = ["-O2", "-w", "-D_GNU_SOURCE", *headers]
    libraries = told(pgbin, "--pkglibdir")
    must(["gcc", *flags, "-fPIC", "-shared", "-o", os.path.join(target, "regress.so"),
          os.path.join(tests, "regress", "regress.c")])
    for name in ("autoinc.so", "refint.so"):  # contrib/spi, which the regression tests borrow
        shutil.copy(os.path.join(libraries, name), target)
    must(["gcc", *flags, "-o", os.path.join(target, "libpq_pipeline"),
          os.path.join(tests, "modules", "libpq_pipeline", "libpq_pipeline.c"),
          "-L" + libraries, "-lpq", "-lpgcommon", "-lpgport"])


# --- together ----------------------------------------------------------------------------------------


def prepare(cache, pgbin):
    """Two directories: the tests (regress, isolation, modules) and what was compiled. Both appear whole
    or not at all, so a run that was interrupted leaves nothing half done behind."""
    cache = os.path.abspath(cache)
    os.makedirs(cache, exist_ok=True)
    tree = os.path.join(cache, "tree")
    if not os.path.isdir(tree):
        tarballs = glob.glob(os.path.join(cache, f"{PACKAGE}_*.orig.tar.*[a-z0-9]"))
        new = tree + ".new"
        shutil.rmtree(new, ignore_errors=True)
        unpack(tarballs[0] if tarballs else fetch(cache), new)
        os.rename(new, tree)
    tests = os.path.join(tree, "src", "test")
    built = os.path.join(cache, "built-" + re.sub(r"[^\w.+-]+", "-", told(pgbin, "--version")).strip("-"))
    if not os.path.isdir(built):
        new = built + ".new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        compile_c(tests, new, pgbin)
        os.rename(new, built)
    return tests, built
