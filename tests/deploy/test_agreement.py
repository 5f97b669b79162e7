"""That what `deploy/` says of the server and of Locust is what these say of themselves.

Files that repeat a number go out of date in silence, so each number is compared with the program
that it is for, or with the other file that has it.
"""

import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import (
    COMPOSE,
    HAPROXY,
    KUBERNETES,
    Manifest,
    compose_services,
    documents,
    find,
    haproxy_says,
    manifests,
    pods,
    seconds,
    server_default,
)
from tests.docker.engine import call, compose_command
from tests.server.harness import clean_environment

REPOSITORY = COMPOSE.parent.parent
# Descriptors that the server keeps back; docs/server.md.
KEPT_BACK = 64
# What the kernel gives as ports: net.ipv4.ip_local_port_range as Linux has it.
PORTS = 60999 - 32768 + 1


def container(deployment: str) -> Manifest:
    (found,) = dict(pods())[deployment]["containers"]
    assert isinstance(found, dict)
    return found


def settings(**environment: str) -> dict[str, Any]:
    """What the real command line makes of the manifest's arguments."""
    done = check_config(environment)
    assert done.returncode == 0, done.stderr
    return tomllib.loads(done.stdout)


def check_config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "--check-config", *container("c10k-server")["args"]],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**clean_environment(), **environment},
    )


def test_the_server_takes_the_arguments_and_listens_at_the_containers_ports() -> None:
    found = settings()
    ports = {port["name"]: port["containerPort"] for port in container("c10k-server")["ports"]}
    assert {name: found[name] for name in ports} == {
        name: f"0.0.0.0:{port}" for name, port in ports.items()
    }


def test_ports_are_the_same_in_services_policies_and_annotations() -> None:
    ports = {p["name"]: p["containerPort"] for _, pod in pods() for p in ports_of(pod)}
    for service in (each for each in manifests() if each["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]
    for policy in (each for each in manifests() if each["kind"] == "NetworkPolicy"):
        for rule in (*policy["spec"]["ingress"], *policy["spec"]["egress"]):
            assert {p["port"] for p in rule["ports"]} <= {*ports, 53}
    annotations = find("Deployment", "c10k-server")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["admin"])


def ports_of(pod: Manifest) -> Iterator[Manifest]:
    for each in pod["containers"]:
        yield from each.get("ports", [])


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[int]:
    """The admin port of a server with the manifest's arguments, on ports of the kernel's choice."""
    arguments = [
        re.sub(r"=0\.0\.0\.0:\d+$", "=127.0.0.1:0", each)
        for each in container("c10k-server")["args"]
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=clean_environment(),
            text=True,
        )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            lines = (process.stdout.readline() for _ in range(3))
            listening = dict(line.split()[1:] for line in lines)
            yield int(listening["admin"].rpartition(":")[2])
        finally:
            process.terminate()
            assert process.wait(30) == 0, (tmp_path / "log").read_text()


def ask(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.status == 200
        text: bytes = answer.read()
        return text.decode()


def test_probes_and_metrics_are_where_the_manifests_look(admin: int) -> None:
    found = container("c10k-server")
    probes = [
        found[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    for probe in probes:
        assert probe["port"] == "admin"
        ask(admin, probe["path"])
    annotations = find("Deployment", "c10k-server")["spec"]["template"]["metadata"]["annotations"]
    metrics = ask(admin, annotations["prometheus.io/path"])
    (adapter,) = documents(KUBERNETES / "prometheus-adapter.yaml")
    (rule,) = adapter["rules"]["custom"]
    assert f"\n{rule['seriesQuery'].partition('{')[0]} 0.0\n" in metrics
    (metric,) = find("HorizontalPodAutoscaler", "c10k-server")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_server_refuses_what_service_links_would_set() -> None:
    """Which is why they are off. A service makes variables of its name, for every pod beside it."""
    assert all(pod["enableServiceLinks"] is False for _, pod in pods())
    names = [each["metadata"]["name"] for each in manifests() if each["kind"] == "Service"]
    refused = [
        name
        for name in names
        if check_config({f"{name.upper().replace('-', '_')}_SERVICE_HOST": "10.0.0.1"}).returncode
    ]
    assert "c10k-server" in refused


def test_a_pod_is_given_longer_to_end_than_its_server_takes() -> None:
    pod = dict(pods())["c10k-server"]
    before = container("c10k-server")["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Docs/server.md: 3 s beyond the drain timeout.
    assert pod["terminationGracePeriodSeconds"] > before + settings()["drain-timeout"] + 3


def test_the_autoscaler_alone_says_how_many_and_leaves_room_in_each() -> None:
    assert "replicas" not in find("Deployment", "c10k-server")["spec"]
    spec = find("HorizontalPodAutoscaler", "c10k-server")["spec"]
    (metric,) = spec["metrics"]
    wanted = int(metric["pods"]["target"]["averageValue"])
    # The clients of the pod that goes must fit into the others.
    fewest = spec["minReplicas"]
    assert wanted * fewest / (fewest - 1) <= settings()["max-connections"]
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 600


def test_locust_takes_its_options_and_aims_at_the_service(tmp_path: Path) -> None:
    text = find("ConfigMap", "locust")["data"]["locust.conf"]
    config = tmp_path / "locust.conf"
    config.write_text(text)
    locust = str(Path(sys.executable).with_name("locust"))
    done = subprocess.run(
        [locust, "-f", "loadtest/locustfile.py", f"--config={config}", "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    (host,) = re.findall(r"(?m)^host = tcp://(\S+):(\d+)$", text)
    service = find("Service", host[0])
    assert int(host[1]) in [port["port"] for port in service["spec"]["ports"]]
    (mounted,) = (m for m in container("locust-master")["volumeMounts"] if m["name"] == "options")
    assert f"--config={mounted['mountPath']}/locust.conf" in container("locust-master")["args"]
    master = next(a for a in container("locust-worker")["args"] if a.startswith("--master-host="))
    find("Service", master.partition("=")[2])


def test_haproxy_leaves_it_to_the_server_to_end_connections() -> None:
    assert seconds(haproxy_says("timeout", "tunnel")) > server_default("idle-timeout")
    for side in ("client-fin", "server-fin"):
        assert seconds(haproxy_says("timeout", side)) > server_default("half-close-timeout")


def test_limits_of_haproxy_and_the_servers_fit_into_each_other() -> None:
    """A limit that another one makes unreachable is a number that means nothing."""
    services = compose_services()
    proxy = services["haproxy"]["environment"]
    connections, each = int(proxy["PROXY_CONNECTIONS"]), int(proxy["PROXY_PER_SERVER"])
    assert str(connections) == haproxy_says("presetenv", "PROXY_CONNECTIONS")
    assert str(each) == haproxy_says("presetenv", "PROXY_PER_SERVER")
    process = int(proxy["PROXY_PROCESS"])
    assert str(process) == haproxy_says("presetenv", "PROXY_PROCESS")
    assert process >= connections + 50  # or the admin port would be closed to all when it is full
    # Two for each, and some dozens.
    assert 2 * process + 100 < services["haproxy"]["ulimits"]["nofile"]["hard"]
    # A check is a connection, too.
    assert each < services["server"]["ulimits"]["nofile"]["hard"] - KEPT_BACK - 10
    assert each < PORTS
    places = int(haproxy_says("server-template", "c10k").split()[0])
    assert connections <= places * each
    assert places >= int(services["server"]["scale"])
    assert places > find("HorizontalPodAutoscaler", "c10k-server")["spec"]["maxReplicas"]


def test_compose_and_haproxy_mean_the_same_ports_and_names() -> None:
    services = compose_services()
    proxy = services["haproxy"]["environment"]
    assert proxy["PROXY_SERVERS"] in services
    port = haproxy_says("presetenv", "PROXY_SERVER_PORT")
    (locust,) = (each for each in services["locust"]["command"] if each.startswith("--host="))
    assert locust == f"--host=tcp://haproxy:{port}"
    published = [each.rpartition(":")[2] for each in services["haproxy"]["ports"]]
    binds = re.findall(r"(?m)^    bind :(\d+)", HAPROXY.read_text())
    assert published == binds
    assert all(
        line.startswith("127.0.0.1:") for service in services.values() for line in ports(service)
    )


def ports(service: Manifest) -> list[str]:
    found: list[str] = service.get("ports", [])
    return found


def test_containers_are_given_longer_to_stop_than_they_take() -> None:
    services = compose_services()
    drain = server_default("drain-timeout")
    assert seconds(services["server"]["stop_grace_period"]) > drain + 3
    hard = seconds(haproxy_says("hard-stop-after"))
    assert seconds(services["haproxy"]["stop_grace_period"]) > hard
    dockerfile = (HAPROXY.parent / "Dockerfile").read_text()
    assert "STOPSIGNAL SIGUSR1\n" in dockerfile
    assert "USER 10001:10001\n" in dockerfile


def test_the_kernel_gives_a_dead_server_up_before_the_server_would_a_dead_client() -> None:
    """Each retry waits twice as long as the one before, the first 0.2 s (RTO_MIN of Linux)."""
    sysctls = dict(each.split("=") for each in compose_services()["haproxy"]["sysctls"][2:])
    assert 0.2 * (2 ** (int(sysctls["net.ipv4.tcp_retries2"]) + 1) - 1) < server_default(
        "write-timeout"
    )


def test_compose_takes_no_settings_by_the_servers_own_names() -> None:
    """The server refuses variables that it does not know, exported ones included."""
    variables = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text()))
    assert all(name.startswith("STACK_") for name in variables)
    header = COMPOSE.read_text().partition("\nx-")[0]
    assert variables == set(re.findall(r"STACK_\w+", header))


def test_every_service_may_do_nothing_that_it_need_not() -> None:
    for service in compose_services().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"pids_limit", "mem_limit", "ulimits"} <= set(service)


def test_compose_accepts_the_file() -> None:
    compose = compose_command()
    if compose is None:
        pytest.skip("there is no Compose; on Debian: apt-get install docker-compose")
    done = call([*compose, "-f", str(COMPOSE), "config", "--services"])
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"server", "haproxy", "locust", "worker"}
