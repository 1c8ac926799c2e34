"""The folders of a process's cgroup, of version 1 and 2, from ``/proc/PID/cgroup`` and ``/proc/PID/mountinfo``."""

from __future__ import annotations

from pathlib import Path


def find_cpu_cgroups(pid: int, proc: Path = Path("/proc")) -> list[Path]:
    """The folders that account for the processors of a process, its own first, then those above it.

    Those of version 2 stand before those of version 1. Empty if there is none, or it may not be seen.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for kind, controller in (("cgroup2", ""), ("cgroup", "cpu")):
        path = _find_path(lines, controller)
        for root, point in _list_mounts(mounts, kind, controller):
            if path is not None:
                found += _climb(Path(point), path, root)
    return found


def _find_path(lines: list[str], controller: str) -> str | None:
    """The path in ``4:cpu,cpuacct:/a/b``, or in ``0::/a/b`` for version 2; None if no line has the controller."""
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return path
    return None


def _list_mounts(lines: list[str], kind: str, controller: str) -> list[tuple[str, str]]:
    """Where a hierarchy is mounted: the path in it that the mount shows, and the folder."""
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, options = before.split(), after.split()
        if len(fields) < 5 or len(options) < 3 or options[0] != kind:
            continue
        if not controller or controller in options[2].split(","):
            found.append((fields[3], fields[4]))
    return found


def _climb(mount: Path, path: str, root: str) -> list[Path]:
    """The folder of a path below a mount and those above it, as far as they can be seen."""
    below = path.removeprefix(root) if root != "/" and path.startswith(root) else path
    folder = mount / below.strip("/")
    if not folder.is_dir():  # a container sees its own cgroup at the mount, whatever the path says
        folder = mount
    folders = [folder]
    while folder != mount and mount in folder.parents:
        folder = folder.parent
        folders.append(folder)
    return folders
