"""The driver of the AWS SDK for Java v2: one program for its three clients, which its argument names."""

from __future__ import annotations

from pathlib import Path

from tests.compat.clients.drivers import Driver
from tests.compat.clients.features import DOT_KEYS, ODD_KEYS

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def _environment(_place: Path) -> dict[str, str]:
    return {"LC_ALL": "C.UTF-8"}  # javac reads sources in the locale's encoding


def java_driver(kind: str, keys: tuple[str, ...] = ODD_KEYS + DOT_KEYS) -> Driver:
    """The driver as ``kind`` of client: sync, async or crt."""
    return Driver(
        name="java",
        tools=("mvn", "javac", "java"),
        fetch=("mvn", "-q", "-B", PLUGIN, "-DoutputDirectory=../lib"),
        build=("sh", "-c", "javac -encoding UTF-8 -d ../classes -cp '../lib/*' src/*.java"),
        command=lambda place: ("java", "-Xmx512m", "-cp", f"{place}/classes:{place}/lib/*", "Main", kind),
        environment=_environment,
        keys=keys,
    )
