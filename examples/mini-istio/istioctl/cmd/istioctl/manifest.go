package main

import (
	"io"
	"text/template"

	"istio.io/istio/pkg/version"
)

// profile names the images of an installation, as Istio's default profile does.
type profile struct{ Hub, Tag string }

// overlayHubAndTag puts the stamp of this binary over the defaults, each only where the build set it: that is how an
// istioctl built for a private hub installs from there without being told.
func overlayHubAndTag(p profile) profile {
	if hub := version.DockerHub(); hub != "unknown" {
		p.Hub = hub
	}
	if tag := version.Info.Version; tag != "unknown" {
		p.Tag = tag
	}
	return p
}

var manifest = template.Must(template.New("manifest").Parse(`apiVersion: v1
kind: ConfigMap
metadata:
  name: istio-sidecar-injector
  namespace: istio-system
data:
  values: |
    global:
      hub: {{ .Hub }}
      tag: {{ .Tag }}
      proxy:
        image: {{ .Hub }}/proxyv2:{{ .Tag }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istiod
  namespace: istio-system
spec:
  selector:
    matchLabels:
      app: istiod
  template:
    metadata:
      labels:
        app: istiod
    spec:
      containers:
        - name: discovery
          image: "{{ .Hub }}/pilot:{{ .Tag }}"
`))

func writeManifest(out io.Writer) error {
	return manifest.Execute(out, overlayHubAndTag(profile{Hub: "gcr.io/istio-testing", Tag: "latest"}))
}
