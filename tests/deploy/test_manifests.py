"""The manifests against Kubernetes' own schemas, in which a word too many is a fault.

Kubernetes drops fields that it does not know, with a warning that nobody reads: a mistyped
`readOnlyRootFilesytem` is a file system that can be written to.
"""

import copy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.files import (
    DEPLOY,
    KUBERNETES,
    Manifest,
    documents,
    find,
    manifest_files,
    manifests,
    pods,
    program,
)

# The oldest that the manifests are for, and the newest whose schema there is.
VERSIONS = ("1.30", kubernetes_validate.latest_version())

# Where any key may stand: names of somebody's choice.
FREE = {"labels", "annotations", "matchLabels", "selector", "requests", "limits", "data"}


def label(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def is_valid(manifest: Manifest, version: str) -> bool:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError:
        return False
    return True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", manifests(), ids=label)
def test_kubernetes_knows_every_field(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("manifest", manifests(), ids=label)
def test_a_mistyped_field_is_found_wherever_it_stands(manifest: Manifest) -> None:
    places = list(mappings(manifest))
    assert len(places) >= 2
    for place in places:
        mutant = copy.deepcopy(manifest)
        at(mutant, place)["readOnlyRootFilesytem"] = True
        assert not is_valid(mutant, VERSIONS[-1]), place


def mappings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each mapping whose keys are Kubernetes' own."""
    if isinstance(value, dict):
        if path and path[-1] in FREE and not _is_label_selector(value):
            return
        yield path
        for key, inner in value.items():
            yield from mappings(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from mappings(inner, (*path, place))


def _is_label_selector(value: Manifest) -> bool:
    """A Service's `selector` is labels; everybody else's has them one further down."""
    return "matchLabels" in value


def at(value: Any, path: tuple[Any, ...]) -> Manifest:
    for step in path:
        value = value[step]
    assert isinstance(value, dict)
    return value


def test_kustomizations_name_every_file_beside_them() -> None:
    for kustomization in KUBERNETES.glob("*/kustomization.yaml"):
        (wanted,) = documents(kustomization)
        named = wanted["resources"] + [patch["path"] for patch in wanted.get("patches", [])]
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {
            "kustomization.yaml"
        }
        assert {name for name in named if not name.startswith("..")} == beside


@pytest.mark.parametrize("name", ["server", "server-by-cpu", "locust"])
def test_what_kustomize_makes_of_it_is_valid(name: str) -> None:
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(KUBERNETES / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert len(made) >= 6
    for manifest in made:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        for container in containers(manifest):
            assert container["image"].endswith(":0.1.0")


def containers(manifest: Manifest) -> list[Manifest]:
    if manifest["kind"] != "Deployment":
        return []
    found: list[Manifest] = manifest["spec"]["template"]["spec"]["containers"]
    return found


def test_the_cpu_patch_is_valid_where_it_is_put() -> None:
    (patch,) = documents(KUBERNETES / "server-by-cpu" / "autoscaler-patch.yaml")
    whole = copy.deepcopy(find("HorizontalPodAutoscaler", "c10k-server"))
    assert patch["metadata"] == {key: whole["metadata"][key] for key in patch["metadata"]}
    whole["spec"]["metrics"] = patch["spec"]["metrics"]
    assert is_valid(whole, VERSIONS[-1])


def test_everything_is_in_the_one_namespace() -> None:
    names = {m["metadata"].get("namespace", m["metadata"]["name"]) for m in manifests()}
    assert names == {"c10k"}


@pytest.mark.parametrize(("name", "pod"), list(pods()))
def test_a_pod_may_do_nothing_that_it_need_not(name: str, pod: Manifest) -> None:
    """What the namespace's "restricted" demands, and a root that nothing is written to."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC"} & set(pod) == set()
    assert "memory" in container["resources"]["limits"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_selectors_find_the_pods_they_are_for() -> None:
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in manifests()
        if each["kind"] == "Deployment"
    }
    for each in manifests():
        selector = selector_of(each)
        if selector is not None:
            found = [name for name, given in labels.items() if selector.items() <= given.items()]
            assert len(found) == 1, label(each)


def selector_of(manifest: Manifest) -> dict[str, str] | None:
    spec = manifest.get("spec", {})
    readers: dict[str, Callable[[], dict[str, str]]] = {
        "Service": lambda: spec["selector"],
        "Deployment": lambda: spec["selector"]["matchLabels"],
        "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
    }
    reader = readers.get(manifest["kind"])
    return reader() if reader else None


def test_every_manifest_is_read() -> None:
    """None is passed over because of a name: what is not one is listed."""
    others = {path.relative_to(DEPLOY) for path in KUBERNETES.rglob("*.yaml")} - {
        path.relative_to(DEPLOY) for path in manifest_files()
    }
    assert others == {
        Path("kubernetes/prometheus-adapter.yaml"),
        Path("kubernetes/locust/kustomization.yaml"),
        Path("kubernetes/server/kustomization.yaml"),
        Path("kubernetes/server-by-cpu/kustomization.yaml"),
        Path("kubernetes/server-by-cpu/autoscaler-patch.yaml"),
    }
