{{- define "treeroll.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "treeroll.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- /* (dict "root" . "component" NAME): what selects pods, and never changes */ -}}
{{- define "treeroll.selector" -}}
app.kubernetes.io/name: treeroll
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "treeroll.labels" -}}
{{ include "treeroll.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- /* Where coordinators are: a list, of which callers find the one that serves */ -}}
{{- define "treeroll.addresses" -}}
{{- $name := printf "%s-coordinator" (include "treeroll.name" .) -}}
{{- range $i := until (int .Values.coordinator.replicas) -}}
{{ if $i }},{{ end }}{{ $name }}-{{ $i }}.{{ $name }}.{{ $.Release.Namespace }}.svc:7070
{{- end -}}
{{- end -}}

{{- define "treeroll.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "treeroll.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "treeroll.mounts" -}}
{{- range .Values.volumes }}
- {name: {{ .name }}, mountPath: {{ .mountPath }}, readOnly: {{ ne (toString .readOnly) "false" }}}
{{- end }}
{{- end -}}

{{- define "treeroll.volumes" -}}
{{- range .Values.volumes }}
- name: {{ .name }}
  {{- toYaml .source | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* service.yaml: what was given, and what goes with the pods */ -}}
{{- define "treeroll.settings" -}}
{{- $own := dict
  "coordinator" (dict "host" "0.0.0.0" "port" 7070 "health_port" 7071 "temp_dir" "/tmp" "standby" true)
  "store" (dict "url" "file:/etc/treeroll/secrets/store-url")
  "dashboard" (dict "port" "off")
  "access" (dict "tokens" "/etc/treeroll/secrets/tokens" "certificate" "/etc/treeroll/secrets/tls.crt" "key" "/etc/treeroll/secrets/tls.key")
-}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $own "generator" (dict "metrics" (include "treeroll.metrics" . | fromYaml)) -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.settings) $own) -}}
{{- end -}}

{{- /* Where replicas answer Prometheus */ -}}
{{- define "treeroll.metrics" -}}
host: 0.0.0.0
port: 9464
tokens: /etc/treeroll/metrics/tokens
certificate: /etc/treeroll/metrics/tls.crt
key: /etc/treeroll/metrics/tls.key
{{- end -}}

{{- define "treeroll.dns" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
  to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
{{- end -}}

{{- /* The RayCluster that the fleet works on: its name */ -}}
{{- define "treeroll.rayCluster" -}}
{{- .Values.fleet.cluster | default (include "treeroll.name" .) -}}
{{- end -}}

{{- /* Pods of Ray's, the fleet's among them, as a peer of network policies */ -}}
{{- define "treeroll.rayPods" -}}
matchLabels:
  app.kubernetes.io/name: treeroll
  app.kubernetes.io/instance: {{ .Release.Name }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [fleet, ray]}
{{- end -}}

{{- /* And those of a cluster that the chart has not made, by the label of KubeRay's operator */ -}}
{{- define "treeroll.rayElsewhere" -}}
{{- with .Values.fleet.cluster -}}
- podSelector: {matchLabels: {ray.io/cluster: {{ . }}}}
{{- end -}}
{{- end -}}

{{- /* (dict "root" . "node" VALUES "group" NAME): the pod template of a group of Ray nodes */ -}}
{{- define "treeroll.rayNode" -}}
metadata:
  labels:
    {{- include "treeroll.labels" (dict "root" .root "component" "ray") | nindent 4 }}
    treeroll/group: {{ .group }}
    {{- with .root.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .root.Values.podAnnotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "treeroll.name" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Ray tells its node's end to those who poll, and waits 30 s for what runs on it.
  terminationGracePeriodSeconds: 60
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "treeroll.podSecurity" .root | nindent 4 }}
  {{- with .node.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .node.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: ray
      image: {{ include "treeroll.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      env:
        - {name: HOME, value: /tmp}
        - {name: TMPDIR, value: /tmp}
        {{- with .node.env }}{{ toYaml . | nindent 8 }}{{ end }}
      resources:
        {{- $gpus := ternary (dict .node.gpuResource .node.gpus) (dict) (gt (int .node.gpus) 0) }}
        requests:
          {{- toYaml (merge (dict) (.node.resources.requests) $gpus) | nindent 10 }}
        limits:
          {{- toYaml (merge (dict) (.node.resources.limits) $gpus) | nindent 10 }}
      securityContext:
        {{- include "treeroll.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - {name: roots, mountPath: /etc/treeroll/roots, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
        {{- include "treeroll.mounts" .root | nindent 8 }}
  volumes:
    - name: roots # of the certificate's secret; replicas know the service by them
      secret: {secretName: {{ .root.Values.secrets.tls }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
    - name: tmp
      emptyDir: {sizeLimit: {{ .node.tmp }}}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ .node.shm }}}
    {{- include "treeroll.volumes" .root | nindent 4 }}
{{- end -}}
