"""The files of `deploy/` as the tests read them: YAML as YAML, HAProxy's configuration as words."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import OPTIONS

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"
COMPOSE = DEPLOY / "docker-compose.scale.yml"

Manifest = dict[str, Any]

# Values of a Helm chart, kustomizations and what they patch are no objects of a cluster.
NO_MANIFESTS = ("prometheus-adapter.yaml", "kustomization.yaml", "autoscaler-patch.yaml")


def manifest_files() -> list[Path]:
    found = (path for path in KUBERNETES.rglob("*.yaml") if path.name not in NO_MANIFESTS)
    return sorted(found)


def manifests() -> list[Manifest]:
    return [document for path in manifest_files() for document in documents(path)]


def documents(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def find(kind: str, name: str) -> Manifest:
    (found,) = (
        each for each in manifests() if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


def pods() -> Iterator[tuple[str, Manifest]]:
    """The name of each Deployment and the specification of its pods."""
    for each in manifests():
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def compose_services() -> dict[str, Any]:
    """The services of the compose file, with the default of each variable in it."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def haproxy_says(*words: str) -> str:
    """What follows these words on the one line of HAProxy's configuration that begins with them."""
    lines = (line.split() for line in HAPROXY.read_text().splitlines())
    (found,) = {" ".join(line[len(words) :]) for line in lines if line[: len(words)] == [*words]}
    return found


def seconds(text: str) -> float:
    number, unit = float(text[:-1]), text[-1]
    return number * {"s": 1, "m": 60, "h": 3600}[unit]


def server_default(name: str) -> float:
    (value,) = (option.default for option in OPTIONS if option.name == name)
    assert isinstance(value, int | float)
    return float(value)


def program(name: str) -> str:
    """Where a program is, or a skip. Debian has HAProxy where only root looks for programs."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found
