"""Kubernetes' restricted pod security standard, and what we ask beside it: a read-only root, no token of the API.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator
from typing import Any

from .objects import Object, pods

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SELINUX = {"container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def check(objects: list[Object], *, with_api: tuple[str, ...] = ()) -> Iterator[str]:
    """`with_api`: service accounts whose pods may have a token of the API."""
    for where, pod in pods(objects):
        spec = pod["spec"]
        own = spec.get("securityContext") or {}
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{where}: {key} is {spec[key]}"
        yield from (f"{where}: {what}" for what in _odd_modules(own))
        for sysctl in own.get("sysctls", []):
            yield f"{where}: sets sysctl {sysctl['name']}"
        for volume in spec.get("volumes", []):
            for kind in volume.keys() - {"name"} - VOLUMES:
                yield f"{where}: volume {volume['name']} is a {kind}"
        if spec.get("automountServiceAccountToken") is not False and spec.get("serviceAccountName") not in with_api:
            yield f"{where}: automountServiceAccountToken is not false"
        for kind in ("initContainers", "containers"):
            for container in spec.get(kind, []):
                yield from (f"{where} container {container['name']}: {what}" for what in _container(container, own))


def _container(container: Object, pod: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = pod | own
    capabilities = own.get("capabilities") or {}
    memory = container.get("resources", {}).get("limits", {}).get("memory")
    wrong = {
        "is privileged": own.get("privileged"),
        "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot is not true": both.get("runAsNonRoot") is not True,
        "runAsUser is root or left to the image": not both.get("runAsUser"),
        "has no seccomp profile": (both.get("seccompProfile") or {}).get("type") not in SECCOMP,
        "does not drop all capabilities": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "procMount is not the default": own.get("procMount", "Default") != "Default",
        "its root file system is not read-only": own.get("readOnlyRootFilesystem") is not True,
        "has no limit of memory": not memory,
        "takes a port of its host": any(port.get("hostPort") for port in container.get("ports", [])),
        "a probe asks another host": any(_hosts(container)),
    }
    yield from (what for what, is_so in wrong.items() if is_so)
    yield from _odd_modules(own)


def _hosts(container: Object) -> Iterator[str]:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        yield from (how["host"] for how in container.get(probe, {}).values() if isinstance(how, dict) and "host" in how)


def _odd_modules(context: dict[str, Any]) -> Iterator[str]:
    """Of a pod's or a container's security context."""
    linux = context.get("seLinuxOptions") or {}
    if linux.get("user") or linux.get("role") or linux.get("type", "container_t") not in SELINUX:
        yield f"seLinuxOptions are {linux}"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "is not confined by AppArmor"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "is a process of its host"
