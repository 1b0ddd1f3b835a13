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
{{- toYaml (mergeOverwrite (deepCopy .Values.settings) $own) -}}
{{- end -}}

{{- define "treeroll.dns" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
  to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
{{- end -}}
