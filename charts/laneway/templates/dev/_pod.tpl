{{/* What the two development services share. Call with (dict "root" $ "component" NAME "values" VALUES "port" PORT
"mount" PATH "container" YAML). */}}
{{- define "laneway.devService" -}}
{{- $name := printf "%s-%s" (include "laneway.fullname" .root) .component }}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "laneway.labels" . | nindent 4 }}
    laneway.dev/development: "true"
spec:
  clusterIP: None
  # A client that asks while it starts is to wait for it, not to be told that there is no such host.
  publishNotReadyAddresses: true
  selector:
    {{- include "laneway.selectorLabels" . | nindent 4 }}
  ports:
    - name: main
      port: {{ .port }}
      targetPort: main
      protocol: TCP
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "laneway.labels" . | nindent 4 }}
    laneway.dev/development: "true"
  annotations:
    laneway.dev/note: For a first try only, without passwords, TLS or replicas.
spec:
  serviceName: {{ $name }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "laneway.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "laneway.podLabels" . | nindent 8 }}
        laneway.dev/development: "true"
    spec:
      automountServiceAccountToken: false
      # Both services take variables for settings, and each Service of the namespace would set some.
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "laneway.podSecurityContext" (dict "user" .values.runAsUser) | nindent 8 }}
      containers:
        - image: {{ .values.image | quote }}
          {{- .container | nindent 10 }}
          ports:
            - name: main
              containerPort: {{ .port }}
          securityContext:
            {{- include "laneway.securityContext" . | nindent 12 }}
          {{- with .values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            - name: data
              mountPath: {{ .mount }}
            {{- range $path := .scratch }}
            - name: {{ base $path }}
              mountPath: {{ $path }}
            {{- end }}
      volumes:
        {{- range $path := .scratch }}
        - name: {{ base $path }}
          emptyDir: {}
        {{- end }}
        {{- if not .values.persistence.enabled }}
        - name: data
          emptyDir: {}
        {{- end }}
  {{- with .values.persistence }}
  {{- if .enabled }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .size }}
  {{- end }}
  {{- end }}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "laneway.labels" . | nindent 4 }}
    laneway.dev/development: "true"
spec:
  podSelector:
    matchLabels:
      {{- include "laneway.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports:
        - port: main
          protocol: TCP
{{- end }}
{{- end }}
