"""What is installed, which devices answer, what stands in the way, and the line that mends it.

The exit status is 0 if nothing is wrong.
"""

from __future__ import annotations

import argparse
import glob
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("multitorch", "numpy", "scipy", "ml_dtypes", "jax", "jaxlib", "libtpu")
OLDEST_JAX = (0, 7, 2)
CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")
"""Where Linux shows TPU chips: older kinds, and those since v5."""
PATIENCE = 90.0
"""Seconds for the devices to answer: a chip that another process holds may keep JAX waiting."""
_ASK = "from multitorch.backend import registry; print(*registry.present())"


class Finding(NamedTuple):
    """Something wrong, and the one line that mends it."""

    problem: str
    fix: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--timeout", type=float, default=PATIENCE, help="seconds for the devices to answer"
    )


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    versions = installed()
    chips, holders = chip_files(), chip_holders()
    devices, failure = answering_devices(options.timeout)
    print(f"{'python':12}{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        print(f"{name:12}{versions.get(name) or 'not installed'}")
    print(f"{'devices':12}{' '.join(devices) or failure}")
    print(f"{'tpu chips':12}{' '.join(chips) or 'none on this machine'}")
    for pid, command in holders:
        print(f"{'held by':12}process {pid}: {command}")
    findings = [
        *bad_pairs(versions, jax_requirements()),
        *chip_problems(versions, chips, holders, devices, failure, dict(os.environ)),
    ]
    for finding in findings:
        print(f"problem     {finding.problem}\n  fix       {finding.fix}")
    if not findings:
        print("nothing is wrong")
    return 1 if findings else 0


# --- what is there


def installed() -> dict[str, str]:
    """Return the versions of the packages that matter, and of some that get in their way."""
    found = {}
    for name in (
        *PACKAGES,
        "libtpu-nightly",
        "torch_xla",
        "jax-cuda12-plugin",
        "jax-cuda13-plugin",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "multitorch" not in found:
        import multitorch

        found["multitorch"] = f"{multitorch.__version__} (not installed, run from its source)"
    return found


def jax_requirements() -> list[str]:
    """Return what the installed JAX says that it needs."""
    try:
        return metadata.requires("jax") or []
    except metadata.PackageNotFoundError:
        return []


def chip_files() -> list[str]:
    """Return the device files of TPU chips."""
    return sorted(path for pattern in CHIPS for path in glob.glob(pattern))


def chip_holders(proc: str = "/proc") -> list[tuple[int, str]]:
    """Return (pid, command) of the processes that have a TPU chip open."""
    found = []
    for folder in Path(proc).glob("[0-9]*"):
        try:
            targets = [os.readlink(file) for file in (folder / "fd").iterdir()]
        except OSError:  # it has ended, or belongs to somebody else
            continue
        if any(re.match(r"/dev/(accel|vfio/)\d+", target) for target in targets):
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            found.append((int(folder.name), command.strip()))
    return sorted(found)


def answering_devices(timeout: float) -> tuple[list[str], str]:
    """Return the devices that answer, and the reason if none does.

    They are asked in a process of their own: JAX may crash there, or wait for ever.
    """
    path = os.pathsep.join([p for p in sys.path if p])
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return [], f"no answer within {timeout:g} seconds"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return [], lines[-1] if lines else f"exit status {done.returncode}"
    return done.stdout.split(), ""


# --- what is wrong


def parse(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version.

    >>> parse("0.10.2.dev1")
    (0, 10, 2)
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(n) for n in match.group().split(".")) if match else ()


def bad_pairs(versions: dict[str, str], requirements: Iterable[str] = ()) -> list[Finding]:
    """Return the versions that are known not to work, alone or together."""
    found = []
    jax, jaxlib = versions.get("jax", ""), versions.get("jaxlib", "")
    if jax and parse(jax) < OLDEST_JAX:
        oldest = ".".join(map(str, OLDEST_JAX))
        found.append(Finding(f"jax {jax} is older than {oldest}", "pip install -U jax"))
    if jax and jaxlib and parse(jaxlib)[:3] != parse(jax)[:3]:
        found.append(
            Finding(
                f"jax {jax} and jaxlib {jaxlib} are not of one release",
                f"pip install 'jax=={jax}' 'jaxlib=={jax}'",
            )
        )
    if parse(versions.get("numpy", "2")) < (2,):
        found.append(
            Finding(f"numpy {versions['numpy']} is older than 2.0", "pip install -U numpy")
        )
    return found + _libtpu_pairs(versions, jax, list(requirements))


def _libtpu_pairs(versions: dict[str, str], jax: str, requirements: list[str]) -> list[Finding]:
    found = []
    mend = f"pip install -U 'jax[tpu]=={jax}'" if jax else "pip install -U 'multitorch[tpu]'"
    libtpu, wanted = versions.get("libtpu", ""), _wanted_libtpu(requirements)
    if libtpu and wanted and parse(libtpu)[: len(parse(wanted))] != parse(wanted):
        found.append(Finding(f"jax {jax} is made for libtpu {wanted}, not {libtpu}", mend))
    if libtpu and not jax:
        found.append(Finding("libtpu is installed, but jax is not", mend))
    if libtpu and "libtpu-nightly" in versions:
        found.append(
            Finding(
                "libtpu and libtpu-nightly overwrite each other's files",
                f"pip uninstall -y libtpu libtpu-nightly && {mend}",
            )
        )
    if libtpu and "torch_xla" in versions:
        found.append(
            Finding(
                f"torch_xla {versions['torch_xla']} brings a libtpu of its own, which JAX may load",
                f"pip uninstall -y torch_xla && {mend}",
            )
        )
    return found


def _wanted_libtpu(requirements: list[str]) -> str:
    for line in requirements:
        match = re.match(r"libtpu\s*==\s*([\d.]*\d)", line)
        if match:
            return match.group(1)
    return ""


def chip_problems(
    versions: dict[str, str],
    chips: list[str],
    holders: list[tuple[int, str]],
    devices: list[str],
    failure: str,
    environment: dict[str, str],
) -> list[Finding]:
    """Return why devices do not answer, chips that are there above all."""
    if chips and not any(name.startswith("tpu") for name in devices):
        return [_unused_chips(versions, holders, environment, failure)]
    if not devices:
        return [
            Finding(f"no device answers: {failure}", "python -m multitorch doctor --timeout 300")
        ]
    if "jax" not in versions:
        return [Finding("only the cpu is in use: jax is missing", "pip install 'multitorch[jax]'")]
    return []


def _unused_chips(
    versions: dict[str, str],
    holders: list[tuple[int, str]],
    environment: dict[str, str],
    failure: str,
) -> Finding:
    others = [(pid, command) for pid, command in holders if pid != os.getpid()]
    platforms = environment.get("JAX_PLATFORMS", "")
    if "libtpu" not in versions:
        return Finding("there are TPU chips, but no libtpu", "pip install 'multitorch[tpu]'")
    if platforms and "tpu" not in platforms.split(","):
        return Finding(f"JAX_PLATFORMS={platforms} keeps JAX from the chips", "unset JAX_PLATFORMS")
    if others:
        pid, command = others[0]
        return Finding(f"process {pid} ({command}) holds the chips", f"kill {pid}")
    if os.path.exists("/tmp/libtpu_lockfile"):
        return Finding("a process that has ended left its lock", "rm /tmp/libtpu_lockfile")
    return Finding(
        f"the chips do not answer: {failure or 'JAX lists none'}", "pip install -U 'jax[tpu]'"
    )
