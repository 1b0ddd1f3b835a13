"""scripts/check-deploy bites: each of its checks finds what is wrong with something that is otherwise right."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOOLS = 'source scripts/_setup.sh; source scripts/_deploy.sh; deploy_tools; echo "$DEPLOY_TOOLS"'
Object = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def tools() -> Iterator[None]:
    """The tools, found as scripts/check-deploy finds them."""
    done = subprocess.run(["bash", "-ec", TOOLS], cwd=ROOT, text=True, capture_output=True, check=True)
    folder = done.stdout.strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", folder + os.pathsep + os.environ.get("PYTHONPATH", ""))
        patch.setattr(sys, "path", [*sys.path, folder, str(ROOT / "scripts")])
        yield


@pytest.fixture(scope="module")
def chart(tools: None) -> list[Object]:
    """What the chart makes of one of its files of values."""
    from deploy_checks import programs

    return programs.render(programs.CHART / "ci" / "one-model.yaml")


def changed(objects: list[Object], kind: str, change: Callable[[Object], object]) -> list[Object]:
    """The objects, the first of a kind changed."""
    made = copy.deepcopy(objects)
    change(next(thing for thing in made if thing["kind"] == kind))
    return made


def pod_of(thing: Object) -> Object:
    return thing["spec"]["template"]["spec"]


def container_of(thing: Object) -> Object:
    return pod_of(thing)["containers"][0]


# Restricted pod security.

INSECURE: dict[str, Callable[[Object], object]] = {
    "hostNetwork": lambda one: pod_of(one).update(hostNetwork=True),
    "sysctl": lambda one: pod_of(one)["securityContext"].update(sysctls=[{"name": "kernel.shm", "value": "1"}]),
    "is a hostPath": lambda one: pod_of(one)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "automountServiceAccountToken": lambda one: pod_of(one).pop("automountServiceAccountToken"),
    "is privileged": lambda one: container_of(one)["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation": lambda one: container_of(one)["securityContext"].pop("allowPrivilegeEscalation"),
    "runAsNonRoot": lambda one: pod_of(one)["securityContext"].pop("runAsNonRoot"),
    "runAsUser": lambda one: container_of(one)["securityContext"].update(runAsUser=0),
    "seccomp": lambda one: container_of(one)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "drop all capabilities": lambda one: container_of(one)["securityContext"].pop("capabilities"),
    "adds capabilities": lambda one: container_of(one)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "procMount": lambda one: container_of(one)["securityContext"].update(procMount="Unmasked"),
    "not read-only": lambda one: container_of(one)["securityContext"].update(readOnlyRootFilesystem=False),
    "limit of memory": lambda one: container_of(one)["resources"].pop("limits"),
    "of its host": lambda one: container_of(one)["ports"][0].update(hostPort=7070),
    "asks another host": lambda one: container_of(one)["livenessProbe"].update(httpGet={"host": "a", "port": 1}),
    "AppArmor": lambda one: pod_of(one)["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "seLinuxOptions": lambda one: container_of(one)["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "a process of its host": lambda one: pod_of(one)["securityContext"].update(windowsOptions={"hostProcess": True}),
    "container late": lambda one: pod_of(one).update(initContainers=[{"name": "late"}]),
}


@pytest.mark.parametrize("what", INSECURE)
def test_a_pod_that_is_not_restricted_is_found(chart: list[Object], what: str) -> None:
    from deploy_checks import pod_security

    assert list(pod_security.check(chart)) == []
    found = list(pod_security.check(changed(chart, "StatefulSet", INSECURE[what])))
    assert any(what in complaint for complaint in found), found


def test_pods_are_found_in_whatever_makes_them() -> None:
    from deploy_checks.objects import containers

    spec = {"template": {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}}
    cluster = {"headGroupSpec": spec, "workerGroupSpecs": [spec, spec]}
    objects = [
        {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec["template"]["spec"]},
        {"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": spec}}},
        {"kind": "RayCluster", "metadata": {"name": "r"}, "spec": cluster},
        {"kind": "RayJob", "metadata": {"name": "j"}, "spec": {"rayClusterSpec": cluster}},
    ]
    assert len(list(containers(objects))) == 1 + 1 + 3 + 3


# Network policies.

OPEN: dict[str, tuple[str, Callable[[Object], object]]] = {
    "a stranger reaches a coordinator": ("ingress", lambda rules: rules[0].pop("from")),
    "a stranger reaches health checks": ("ingress", lambda rules: rules.append({"ports": [{"port": 7071}]})),
    "another namespace reaches a coordinator": (
        "ingress",
        lambda rules: rules[0]["from"].append({"namespaceSelector": {}}),
    ),
    "a trainer does not reach a coordinator": ("ingress", lambda rules: rules[0]["from"].pop()),
    "a replica does not reach a coordinator": ("ingress", lambda rules: rules[0]["from"].pop(0)),
    "a coordinator does not reach Redis": ("egress", lambda rules: rules[1].update(ports=[{"port": 6380}])),
    "a coordinator does not reach DNS": ("egress", lambda rules: rules.pop(0)),
    "a coordinator reaches a stranger": ("egress", lambda rules: rules.append({})),
}


@pytest.mark.parametrize("what", OPEN)
def test_a_policy_that_lets_through_too_much_or_too_little_is_found(chart: list[Object], what: str) -> None:
    from deploy_checks import __main__ as table
    from deploy_checks import reach

    check = partial(reach.check, trainer=table.TRAINERS["one-model"], store=table.STORES["one-model"])
    assert list(check(chart)) == []
    key, change = OPEN[what]
    found = list(check(changed(chart, "NetworkPolicy", lambda policy: change(policy["spec"][key]))))
    assert any(complaint.startswith(what) for complaint in found), found


@pytest.mark.parametrize(
    ("peer", "reaches_it"),
    [
        ({"podSelector": {"matchLabels": {"app": "x"}}}, True),
        ({"podSelector": {"matchLabels": {"app": "y"}}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "z"]}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "other", "operator": "Exists"}]}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "other", "operator": "DoesNotExist"}]}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}, True),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, False),
    ],
)
def test_policies_select_as_kubernetes_does(peer: Object, reaches_it: bool) -> None:
    from deploy_checks.network import Place, reaches

    source, target = Place({"app": "x"}), Place({"app": "server"}, ports={"web": 80})
    rule = {"from": [peer], "ports": [{"port": "web"}]}
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": spec}
    assert reaches([policy], source, target, 80) is reaches_it
    assert not reaches([policy], source, target, 81)
    assert not reaches([policy], source, target, 80, "UDP")
    assert reaches([policy], target, source, 9)
    assert reaches([], source, target, 81)


# Kubernetes' schemas and KubeRay's.

RAY = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"name": "r"},
    "spec": {
        "rayVersion": "2.60.0",
        "headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
    },
}


def test_an_object_that_kubernetes_would_refuse_is_found(chart: list[Object]) -> None:
    from deploy_checks import schemas

    assert list(schemas.check(chart, ("1.37",))) == []
    for change, what in (
        (lambda one: one["spec"].update(replicas="two"), "spec.replicas"),
        (lambda one: one["spec"].update(replica=2), "replica"),
        (lambda one: one.update(kind="StatefulSets"), "Couldn't find schema"),
        (lambda one: one["spec"].pop("serviceName") and one["spec"].pop("template"), "template"),
    ):
        found = list(schemas.check(changed(chart, "StatefulSet", change), ("1.37",)))
        assert any(what in complaint for complaint in found), (what, found)


def test_a_ray_cluster_that_the_operator_would_not_understand_is_found() -> None:
    from deploy_checks import schemas

    assert list(schemas.check([RAY])) == []
    for change, what in (
        (lambda one: one["spec"].update(rayVersions="2"), "rayVersions"),
        (lambda one: one["spec"].update(rayVersion=2.6), "rayVersion"),
        (lambda one: one["spec"].update(authOptions={"mode": "tokens"}), "authOptions.mode"),
        (lambda one: one["spec"]["headGroupSpec"]["template"]["spec"].update(containrs=[]), "containrs"),
        (lambda one: one.update(apiVersion="ray.io/v9"), "no schema"),
    ):
        found = list(schemas.check(changed([RAY], "RayCluster", change)))
        assert any(what in complaint for complaint in found), (what, found)


# The program's own settings, options and variables.


def test_settings_options_and_variables_that_the_program_has_not_are_found(chart: list[Object]) -> None:
    from deploy_checks import settings

    def other_settings(one: Object) -> None:
        values = yaml.safe_load(one["data"]["service.yaml"])
        values["coordinator"]["health"] = values["coordinator"].pop("health_port")
        one["data"]["service.yaml"] = yaml.safe_dump(values)

    variable = {"name": "TREEROLL_TOKENS_FILE", "value": "x"}
    assert list(settings.check(chart)) == []
    for kind, change, what in (
        ("ConfigMap", other_settings, "'coordinator.health'"),
        ("StatefulSet", lambda one: container_of(one)["args"].append("--standbye"), "No such option"),
        ("StatefulSet", lambda one: container_of(one).update(args=["server"]), "there is no command 'server'"),
        ("StatefulSet", lambda one: container_of(one).update(args=["serve", "--port", "x"]), "--port"),
        ("StatefulSet", lambda one: container_of(one).update(command=["treeroll fleets"]), "no command 'fleets'"),
        ("StatefulSet", lambda one: container_of(one)["env"].append(variable), "TREEROLL_TOKENS_FILE"),
    ):
        found = list(settings.check(changed(chart, kind, change)))
        assert any(what in complaint for complaint in found), (what, found)


def test_a_setting_that_only_the_program_has_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deploy_checks import settings

    assert list(settings.schema_drift()) == []
    stale = tmp_path / "values.schema.json"
    stale.write_text(settings.SCHEMA.read_text().replace('"slots"', '"seats"'))
    monkeypatch.setattr(settings, "SCHEMA", stale)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    assert "run scripts/check-deploy --fix" in next(settings.schema_drift())


# Values that cannot be, and values that contradict each other.

REFUSED = {
    "settings.generator.slot=1": "additional properties 'slot' not allowed",
    "settings.generator.slots=0": "minimum",
    'settings.coordinator.host="::"': "additional properties 'host' not allowed",
    'settings.store.url="redis://r"': "additional properties 'url' not allowed",
    "replica=2": "additional properties 'replica' not allowed",
    'coordinator.replicas="2"': "got string, want integer",
    'volumes=[{"name":"x","mountPath":"/x","source":{"hostPath":{"path":"/"}}}]': "hostPath",
    'coordinator.env=[{"name":"TREEROLL_TOKEN","value":"x"}]': "coordinator/env/0/name",
    'image.repository=""': "image.repository is empty: name your treeroll image",
    "replicas.groups=null": "replicas.groups is empty, so that nothing would grow trees",
    'replicas.kind="none"': "replicas.kind is none and replicas.groups is not empty",
    'settings.generator.engine="none"': "settings.generator.engine is none and replicas.kind is statefulset",
    "replicas.groups.coordinator={}": "which is the name of the service's own pods",
    "replicas.groups.main.gpus=1": "main has 1 GPUs for each replica and its generator.tensor_parallel is 2",
    'replicas.groups.main.pool="small"': "main is of pool 'small', and settings.generator.pools is empty",
    'settings.generator.pools={"a":{}}': "replicas.groups.main is of pool '', and settings.generator.pools has a",
    "metrics.podMonitor=true": "metrics.podMonitor is set and metrics.enabled is not",
    'volumes=[{"name":"tmp","mountPath":"/x","source":{"emptyDir":{}}}]': "volumes has tmp, which is there already",
}


@pytest.mark.parametrize("change", REFUSED)
def test_values_that_cannot_work_are_refused_by_a_sentence(change: str) -> None:
    from deploy_checks import programs

    with pytest.raises(programs.HelmRefused) as refused:
        programs.render(programs.CHART / "ci" / "one-model.yaml", sets=[change])
    assert REFUSED[change] in str(refused.value)


FLEETS = {
    'replicas.groups={"main":{}}': "replicas.kind is fleet and replicas.groups is not empty",
    "ray.workers=null": "replicas.kind is fleet and nothing would run its replicas",
    'fleet.cluster="shared"': "fleet.cluster names shared, and ray.workers has nodes",
    "metrics.enabled=true": "metrics.enabled is for replicas of kind statefulset and replicas.kind is fleet",
    'replicas.kind="none"': "fleet.cluster or ray.workers is given and replicas.kind is none",
    'settings.generator.engine="none"': "settings.generator.engine is none and replicas.kind is fleet",
    'ray.workers.gpu.count="4"': "got string, want integer",
}


@pytest.mark.parametrize("change", FLEETS)
def test_values_of_a_fleet_that_cannot_work_are_refused_by_a_sentence(change: str) -> None:
    from deploy_checks import programs

    with pytest.raises(programs.HelmRefused) as refused:
        programs.render(programs.CHART / "ci" / "fleet.yaml", sets=[change])
    assert FLEETS[change] in str(refused.value)


def test_a_fleet_and_its_cluster_are_looked_at_as_all_else() -> None:
    from deploy_checks import __main__ as table
    from deploy_checks import pod_security, programs, reach, schemas, settings

    objects = programs.render(programs.CHART / "ci" / "fleet.yaml")

    def of_head(change: Callable[[Object], object]) -> list[Object]:
        return changed(objects, "RayCluster", lambda one: change(one["spec"]["headGroupSpec"]["template"]["spec"]))

    def of_ray(rules: Callable[[Object], object]) -> list[Object]:
        made = copy.deepcopy(objects)
        rules(next(one for one in made if one["metadata"]["name"] == "trees-ray")["spec"])
        return made

    check = partial(reach.check, trainer=table.LABELLED, store=table.ANYWHERE)
    wrong = changed(
        objects, "Deployment", lambda one: container_of(one)["args"].__setitem__(0, "treeroll fleet --nam x")
    )
    broken = changed(objects, "RayCluster", lambda one: one["spec"].update(authOptions={"mode": "tokens"}))
    assert any(
        "is privileged" in one
        for one in pod_security.check(
            of_head(lambda pod: pod["containers"][0]["securityContext"].update(privileged=True))
        )
    )
    assert any("--nam" in one for one in settings.check(wrong))
    ill = changed(objects, "Deployment", lambda one: container_of(one)["args"].__setitem__(0, "ray start --num-cpu=0"))
    assert any("--num-cpu" in one for one in settings.check(ill))
    assert any("authOptions.mode" in one for one in schemas.check(broken, ("1.37",)))
    assert "a stranger reaches ray pod at port 10002" in check(of_ray(lambda spec: spec["ingress"].append({})))
    assert "fleet pod does not reach a coordinator at port 7070" in check(of_ray(lambda spec: spec["egress"].pop()))


def test_replicas_that_prometheus_is_to_find_are_found_by_it_and_by_nobody_else() -> None:
    from deploy_checks import __main__ as table
    from deploy_checks import programs, reach, schemas

    objects = programs.render(programs.CHART / "ci" / "metrics.yaml")
    check = partial(reach.check, trainer=table.LABELLED, store=table.ANYWHERE)

    def replicas_of(made: list[Object]) -> Object:
        return next(one for one in made if one["kind"] == "StatefulSet" and one["metadata"]["name"] == "trees-main")

    def of_replicas(rules: Callable[[Object], object]) -> list[Object]:
        made = copy.deepcopy(objects)
        rules(next(one for one in made if one["metadata"]["name"] == "trees-replica")["spec"]["ingress"])
        return made

    [monitor] = [one for one in objects if one["kind"] == "PodMonitor"]
    replicas = replicas_of(objects)
    labels = replicas["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container_of(replicas)["ports"]]
    assert list(check(objects)) == []
    assert "Prometheus does not reach a replica at port 9464" in check(of_replicas(lambda rules: rules.clear()))
    assert "a stranger reaches a replica at port 9464" in check(of_replicas(lambda rules: rules[0].pop("from")))
    broken = changed(objects, "PodMonitor", lambda one: one["spec"].update(podMetricsEndpoint=[]))
    assert any("podMetricsEndpoint" in one for one in schemas.check(broken, ("1.37",)))
    by_annotations = programs.render(programs.CHART / "ci" / "metrics.yaml", sets=["metrics.podMonitor=false"])
    assert not [one for one in by_annotations if one["kind"] == "PodMonitor"]
    [replicas] = [
        one for one in by_annotations if one["metadata"]["name"] == "trees-main" and one["kind"] == "StatefulSet"
    ]
    assert replicas["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == "9464"


def test_a_pool_without_replicas_is_refused() -> None:
    from deploy_checks import programs

    with pytest.raises(programs.HelmRefused, match=r"has third and no group of replicas is of it"):
        programs.render(programs.CHART / "ci" / "two-models.yaml", sets=["settings.generator.pools.third={}"])


# Dockerfiles.

WRONG = {
    "does not run as": ("USER 10001:10001", "USER root"),
    "cannot be chosen": ("ARG BASE=docker.io/library/debian:bookworm-slim", "ARG BASIS=debian:12"),
    "tools to build with": ("ca-certificates libnuma1", "ca-certificates build-essential libnuma1"),
    "says nothing of its health": ("HEALTHCHECK", "# HEALTHCHECK"),
    "No such option": ('CMD ["treeroll", "health"]', 'CMD ["treeroll", "health", "--redy"]'),
    "there is no command 'srve'": ('CMD ["--help"]', 'CMD ["srve"]'),
    "copies tests": ("COPY services", "COPY tests"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_image_that_would_not_be_what_is_promised_is_found(what: str, tmp_path: Path) -> None:
    from deploy_checks import images

    file = next(file for file in images.DOCKERFILES if file.stem == "cpu")
    copy = tmp_path / file.name
    copy.with_name(f"{file.name}.dockerignore").write_text(file.with_name(f"{file.name}.dockerignore").read_text())
    copy.write_text(file.read_text())
    assert list(images.check(copy)) == []
    old, new = WRONG[what]
    assert old in file.read_text()
    copy.write_text(file.read_text().replace(old, new))
    found = list(images.check(copy))
    assert any(what in complaint for complaint in found), found


# Compose.

LOOSE = {
    "serve: read_only": ("read_only: true", "read_only: false"),
    "serve: cap_drop": ("cap_drop: [ALL]", "cap_drop: []"),
    "serve: runs as root": ('user: "10001:10001"', 'user: "0:0"'),
    "serve: has no limit of memory": ("mem_limit: 8g\n    stop_grace", "stop_grace"),
    "serve: secrets has no certificate": ("server.key, tokens]", "server.key, tokens, certificate]"),
    "serve: `treeroll serve --engine nobody": ("--engine, none", "--engine, nobody"),
    "replica: `treeroll replica --adress": ("replica --address", "replica --adress"),
    "replica: the program reads no variable": ("TREEROLL_TOKEN_FILE:", "TREEROLL_TOKENS_FILE:"),
    "access.tokens is": ("server.key, tokens]", "server.key]"),
}


@pytest.mark.parametrize("what", LOOSE)
def test_a_compose_file_that_would_not_do_what_it_says_is_found(what: str, tmp_path: Path) -> None:
    from deploy_checks import compose

    text = (compose.FOLDER / "compose.yaml").read_text()
    copy = tmp_path / "compose.yaml"
    copy.write_text(text)
    assert list(compose.check(copy)) == []
    old, new = LOOSE[what]
    assert old in text
    copy.write_text(text.replace(old, new))
    found = list(compose.check(copy))
    assert any(what in complaint for complaint in found), found


# Scripts that people submit.

MISTAKES = {
    "no such option: --engin": ("serve --engine none", "serve --engin none"),
    "there is no command 'tokens'": ("treeroll token make client", "treeroll tokens make client"),
    "store.directory": ("store.dir=", "store.directory="),
    "SC2086": ('--nodelist="$head"', "--nodelist=$head"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_script_that_the_program_would_refuse_is_found(what: str, tmp_path: Path) -> None:
    from deploy_checks import shell

    text = next(file for file in shell.FILES if file.suffix == ".sbatch").read_text()
    copy = tmp_path / "job.sbatch"
    copy.write_text(text)
    assert list(shell.check(copy)) == []
    old, new = MISTAKES[what]
    assert old in text
    copy.write_text(text.replace(old, new))
    found = list(shell.check(copy))
    assert any(what.lower() in complaint.lower() for complaint in found), found


# Ray's launcher.

UNKNOWN = {
    "Additional properties are not allowed": ("max_workers: 2", "most_workers: 2"),
    "--prt": ("--port=6379", "--prt=6379"),
    "worker_start_ray_commands: Ray is started without RAY_AUTH_MODE": (
        "RAY_AUTH_MODE=token",
        "RAY_AUTH_MODE=disabled",
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_cluster_that_ray_would_refuse_is_found(what: str, tmp_path: Path) -> None:
    from deploy_checks import launcher

    text = launcher.CLUSTER.read_text()
    copy = tmp_path / "cluster.yaml"
    old, new = UNKNOWN[what]
    assert old in text
    copy.write_text(text.replace(old, new))
    assert list(launcher.check(launcher.CLUSTER)) == []
    found = list(launcher.check(copy))
    assert any(what in complaint for complaint in found), found


# Other programs' opinions.


def test_each_linter_finds_a_broken_file(tmp_path: Path) -> None:
    from deploy_checks import programs

    for check, good, bad, what in (
        (programs.lint_yaml, "a: 1\n", "a: 1\na: 2\n", "duplication of key"),
        (programs.lint_dockerfiles, "FROM debian:12\nUSER 1\n", "FROM debian\nADD a /a\n", "DL3006"),
        (programs.check_compose, "services: {a: {image: b}}\n", "services: {a: {image: b, port: [1]}}\n", "port"),
    ):
        file = tmp_path / "file.yaml"
        file.write_text(good)
        assert list(check([file])) == []
        file.write_text(bad)
        assert what in next(check([file]))


def test_a_broken_chart_is_found(tmp_path: Path) -> None:
    from deploy_checks import programs

    chart = tmp_path / "treeroll"
    subprocess.run(["cp", "-r", str(programs.CHART), str(chart)], check=True)
    values = chart / "ci" / "simulated.yaml"
    assert list(programs.lint_chart(values, chart)) == []
    (chart / "templates" / "new.yaml").write_text("a: {{ .Values.image.repository | quot }}\n")
    assert 'function "quot" not defined' in next(programs.lint_chart(values, chart))
