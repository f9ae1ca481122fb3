{{- define "name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "labels" -}}
app.kubernetes.io/name: mimc-app-proxy
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* What both processes have in common; what differs is in `part`, `port` and `command`. */}}
{{- define "pod" -}}
{{- $values := index .root.Values .part -}}
metadata:
  labels:
    {{- include "labels" . | nindent 4 }}
  annotations:
    checksum/settings: {{ .root.Values.settings | sha256sum }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: { type: RuntimeDefault }
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .grace }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "labels" . | nindent 10 }}
  containers:
    - name: {{ .part }}
      image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: {{ .command | toJson }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      env:
        {{- if and (eq .part "web") $values.spool }}
        - { name: APP_PROXY_STORE__SPOOL_DIR, value: /var/lib/app-proxy/spool }
        {{- end }}
        {{- with $values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if eq .part "web" }}
        - { name: http, containerPort: 8080 }
        {{- end }}
        - { name: operator, containerPort: {{ .port }} }
      livenessProbe:
        httpGet: { path: /healthz, port: operator }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: operator }
        periodSeconds: 5
        timeoutSeconds: 5
      startupProbe:
        httpGet: { path: /healthz, port: operator }
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 30
      {{- if eq .part "web" }}
      lifecycle:      # until no balancer sends anything here any more; there is no shell
        preStop:
          exec: { command: [python, -c, "import time; time.sleep(5)"] }
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - { name: settings, mountPath: /etc/app-proxy, readOnly: true }
        - { name: secret, mountPath: /run/secrets/app-proxy, readOnly: true }
        - { name: state, mountPath: /var/lib/app-proxy }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - name: settings
      configMap: { name: {{ include "name" .root }}-settings }
    - name: secret
      secret: { secretName: {{ .root.Values.secret }}, defaultMode: 0440 }
    - name: tmp
      emptyDir: {}
    {{- if not (and (eq .part "web") $values.spool) }}
    - name: state
      emptyDir: {}
    {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" }}
  {{- with index $.root.Values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}
