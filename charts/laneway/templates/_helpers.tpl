{{/* Names. The operator's own: 45 characters leave room for what is put behind them. */}}
{{- define "laneway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{- define "laneway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains (include "laneway.name" .) .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "laneway.name" .) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Cluster-scoped objects of releases in different namespaces must not meet. (No namespace's name has a dot, so
`team` with `a-laneway` and `team-a` with `laneway` are two.) */}}
{{- define "laneway.clusterName" -}}
{{- $full := include "laneway.fullname" . -}}
{{- if eq .Release.Namespace $full -}}{{ $full }}{{- else -}}{{ printf "%s.%s" .Release.Namespace $full }}{{- end -}}
{{- end }}

{{- define "laneway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-operator" (include "laneway.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* Labels. Call with (dict "root" $ "component" NAME). The chart's objects are not managed-by the operator: it
takes what says so for its own. */}}
{{- define "laneway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "laneway.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "laneway.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{- include "laneway.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: laneway
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* A pod's labels: nothing in them changes with the chart's version alone. */}}
{{- define "laneway.podLabels" -}}
{{- $own := include "laneway.selectorLabels" . | fromYaml }}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.commonLabels) (default dict .extra | deepCopy) $own) }}
{{- end }}

{{/* YAML of a map and more of it, where a key is in both by the second: call with (dict "own" YAML "more" VALUES). */}}
{{- define "laneway.merged" -}}
{{- toYaml (mergeOverwrite (fromYaml .own) (deepCopy .more)) }}
{{- end }}

{{/* An image: call with (dict "root" $ "image" VALUES). */}}
{{- define "laneway.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end }}

{{/* Security, as Pod Security's level `restricted` wants it, and a read-only root beside. */}}
{{- define "laneway.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "laneway.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Replicas prefer different nodes, unless an affinity is given. */}}
{{- define "laneway.affinity" -}}
{{- if .affinity -}}
{{- toYaml .affinity }}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "laneway.selectorLabels" . | nindent 12 }}
{{- end -}}
{{- end }}

{{- define "laneway.devRedisHost" -}}
{{ include "laneway.fullname" . }}-dev-redis.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "laneway.devKafkaHost" -}}
{{ include "laneway.fullname" . }}-dev-kafka.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The default Redis: the one that is named, else the development one when that runs, else none. */}}
{{- define "laneway.redisUrl" -}}
{{- if .Values.redis.url -}}
{{- .Values.redis.url -}}
{{- else if and .Values.devServices.enabled (not .Values.redis.existingSecret.name) -}}
redis://{{ include "laneway.devRedisHost" . }}:6379
{{- end -}}
{{- end }}

{{/* The environment that operator, check and adapter share. Check takes no notice of what it does not need. */}}
{{- define "laneway.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: LANEWAY_OPERATOR_LEASE_NAME
  value: {{ include "laneway.fullname" . }}-operator
- name: LANEWAY_OPERATOR_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: LANEWAY_OPERATOR_LOG_LEVEL
  value: {{ .Values.log.level }}
{{- with .Values.watchNamespaces }}
- name: LANEWAY_OPERATOR_NAMESPACES
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.secrets.requireLabel }}
- name: LANEWAY_OPERATOR_SECRETS_LABEL
  value: {{ . | quote }}
{{- end }}
{{- with include "laneway.redisUrl" . }}
- name: LANEWAY_OPERATOR_REDIS_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.redis.existingSecret }}
{{- if .name }}
- name: LANEWAY_OPERATOR_REDIS_SECRET
  value: {{ printf "%s/%s" .name .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Rules for RBAC out of files/permissions.yaml: call with (dict "root" $ "part" PART "where" WHERE). */}}
{{- define "laneway.rules" -}}
{{- $part := .part -}}
{{- $where := .where -}}
{{- $full := include "laneway.fullname" .root -}}
{{- /* Objects that are named after the release. */ -}}
{{- $names := dict "laneway-operator" (printf "%s-operator" $full) "laneway-adapter-tls" (printf "%s-adapter-tls" $full) "laneway-adapter" (printf "%s-adapter" (include "laneway.clusterName" .root)) -}}
{{- range (.root.Files.Get "files/permissions.yaml" | fromYamlArray) }}
{{- if and (eq .part $part) (eq .where $where) }}
# {{ .why }}
- apiGroups: [{{ .group | quote }}]
  resources: [{{ .resource | quote }}]
  verbs: {{ toJson .verbs }}
  {{- if .name }}
  resourceNames: [{{ get $names .name | default .name | quote }}]
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
